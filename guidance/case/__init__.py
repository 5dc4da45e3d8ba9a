"""The case as a value: paths, volumes, which volume counts, and since when (epoch)."""

from guidance.case.fields import INSTRUMENT_PALETTE, BadFieldsError, FieldError
from guidance.case.paths import (
    MAXIMUM_PATHS,
    create_path,
    delete_path,
    drawable_paths,
    find_path,
    is_in_active_frame,
    paths_from_plan,
    paths_in_other_frames,
    replace_path,
    update_path,
)
from guidance.case.state import (
    ActiveVolume,
    Case,
    VolumeQuestion,
    activate_volume,
    confirm_shared_frame,
    find_volume,
    forget_volume,
    new_case,
    update_case,
    volume_changed,
)
from guidance.case.store import case_from_json, case_to_json

__all__ = [
    "INSTRUMENT_PALETTE",
    "MAXIMUM_PATHS",
    "ActiveVolume",
    "BadFieldsError",
    "Case",
    "FieldError",
    "VolumeQuestion",
    "activate_volume",
    "case_from_json",
    "case_to_json",
    "confirm_shared_frame",
    "create_path",
    "delete_path",
    "drawable_paths",
    "find_path",
    "find_volume",
    "forget_volume",
    "is_in_active_frame",
    "new_case",
    "paths_from_plan",
    "paths_in_other_frames",
    "replace_path",
    "update_case",
    "update_path",
    "volume_changed",
]
