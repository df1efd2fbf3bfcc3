"""Cells: what is negotiated, and how IKE SAs and Child SAs live and end."""

from __future__ import annotations

from verif.interop.cells import Role, Setup, World, cell, up


def _both(case: str, **changes) -> None:
    for role in Role.BOTH:

        async def run(world: World, role: str = role) -> None:
            async with up(world, Setup(role, **changes)) as deal:
                await deal.close()

        cell(f"{case}, {role}")(run)


_both("pre-shared key")
