"""How the patient moves while cement is injected: breath and restlessness, as pure functions of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulators.gantry import STILL, Motion


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientMotion:
    """The patient on the table, against where they lay at time 0.

    Attributes:
        breath: shift (mm) and turn (deg) between breathed out and in.
        breath_s: period; a prone, sedated patient takes a breath in 4 s.
        moves: (when it begins in s, how long it takes in s, shift and turn it ends in); later ones add up.
    """

    breath: Motion = STILL
    breath_s: float = 4.0
    moves: tuple[tuple[float, float, Motion], ...] = ()

    def at(self, t_s: float) -> Motion:
        """Shift in LPS mm and rotation vector in deg at that time."""
        # cos^4: longer breathed out than in (Lujan et al., Med. Phys. 26, 1999); 0 at time 0.
        inhaled = 1.0 - np.cos(np.pi * t_s / self.breath_s) ** 4
        total = np.asarray(self.breath) * inhaled
        for begins_s, takes_s, end in self.moves:
            part = float(np.clip((t_s - begins_s) / max(takes_s, 1e-9), 0.0, 1.0))
            total = total + np.asarray(end) * (part * part * (3.0 - 2.0 * part))
        a, b, c, d, e, f = (float(value) for value in total)
        return (a, b, c, d, e, f)
