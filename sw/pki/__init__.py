"""X.509 for IKE: paths to configured CAs, identities in certificates, files, and the CA helper.

`path` says whether a certificate is good, `names` which names are the same, `files` reads keys,
certificates and CRLs, `authority` makes them. Whose a certificate is in IKE: `sw.ike.certificates`.
"""
