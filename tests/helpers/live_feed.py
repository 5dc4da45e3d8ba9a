"""A synthetic live picture for page tests: grey field, one line of a path across it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from guidance.messages import GeometryState, InputState
from guidance.ports import LiveUpdate
from guidance.shapes import OverlayVector, PathPlace, PictureHeader
from tests.helpers.case_api import FakeCaseApi, input_geometry

SIZE_PX = 256
GREY = 120
PATH_COLOR = "#56b4e9"
PATH_RGB = (0x56, 0xB4, 0xE9)

_JPEG = cv2.imencode(".jpg", np.full((SIZE_PX, SIZE_PX), GREY, np.uint8))[1].tobytes()


def send_frame(
    api: FakeCaseApi,
    sequence: int,
    *,
    device: str = "Fluoro",
    picture: bool = True,
    overlay: tuple[OverlayVector, ...] = (),
    **said: Any,
) -> None:
    """Tell the page about a frame: horizontal line of path `P1` at v = 100 from u = 50 to 200, 9 px wide.

    Args:
        overlay: what else is drawn.
        said: members of the input's state that differ from streaming, trusted, 20 ms old.
    """
    trusted = said.get("geometry_state", GeometryState.TRUSTED) is GeometryState.TRUSTED
    place = PathPlace(id="P1", entry_px=(50.0, 100.0), target_px=(200.0, 100.0), drawn=trusted)
    seen = input_geometry(frame_number=sequence, **({"paths": (place,)} | said))
    api.inputs[device] = seen
    header = PictureHeader(
        device=device,
        sequence=sequence,
        frame_number=sequence,
        width=SIZE_PX,
        height=SIZE_PX,
        scale=1.0,
        age_ms=20.0,
        latency_ms=2.5,
        state=InputState(seen.state),
        geometry_state=GeometryState(seen.geometry_state),
        reason=seen.reason,
        epoch=1,
        overlay=(
            OverlayVector(
                kind="line", color=PATH_COLOR, points=(50.0, 100.0, 200.0, 100.0), width_px=9.0, path_id="P1"
            ),
            OverlayVector(kind="text", color="#ffffff", points=(20.0, 190.0), text="LIVE", width_px=90.0, size_px=40.0),
            OverlayVector(kind="text", color="#ffffff", points=(20.0, 240.0), text="R", width_px=30.0, size_px=40.0),
            *overlay,
        ),
    )
    state = api.geometry()
    if picture:
        api.deliver(LiveUpdate(device=device, state=state, header=header, picture=_JPEG))
    else:
        api.deliver(LiveUpdate(device=device, state=state))
