"""Holdfast's software: IKEv2, the station's data plane, RMCP, the NIC's driver, agent, station."""
