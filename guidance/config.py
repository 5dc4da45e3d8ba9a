"""Settings as frozen values: TOML text and environment in, `Settings` out, or a ConfigError that names key and mend."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, get_type_hints

import msgspec

from guidance.errors import ConfigError


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class DataSettings(_Section, frozen=True):
    """Where what must not be lost is stored; `dir` may begin with `~`."""

    dir: str = "~/.local/share/guidance"


class DicomSettings(_Section, frozen=True):
    """Storage SCP (contract 5.2)."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "GUIDANCE"
    allowed_calling_ae_titles: tuple[str, ...] = ()  # empty: any caller
    check_called_ae_title: bool = False
    series_quiet_s: float = 5.0
    disk_watermark_mib: int = 512
    maximum_associations: int = 16
    tls_certificate: str = ""
    tls_key: str = ""
    tls_ca: str = ""  # with it, callers must show a certificate that it signed


class OpenIGTLinkSettings(_Section, frozen=True):
    """Fluoroscopy in, overlay out (contract 5.3)."""

    host: str = "127.0.0.1"
    input_port: int = 18944
    output_port: int = 18945
    connect: tuple[str, ...] = ()  # "host:port" of suite servers to dial; reconnected with back-off
    maximum_body_mib: int = 64
    maximum_connections: int = 64
    owner_silence_s: float = 5.0
    input_silence_s: float = 2.0
    client_stall_s: float = 30.0
    heartbeat_s: float = 1.0
    keep_alive_s: float = 10.0
    output_rate_hz: float = 0.0  # per client and picture type; 0: every frame
    version_1_clients: tuple[str, ...] = ()  # addresses that get header version 1
    trajectory_clients: tuple[str, ...] = ()  # addresses that get TRAJ unasked
    transform_frame: Literal["ras", "lps"] = "ras"


class HttpSettings(_Section, frozen=True):
    """API and page (contract 5.4)."""

    host: str = "127.0.0.1"
    port: int = 8080
    allowed_hosts: tuple[str, ...] = ()  # names by which browsers may ask, besides localhost and addresses
    picture_rate_hz: float = 15.0
    jpeg_quality: int = 80


class MqttSettings(_Section, frozen=True):
    """Events to a broker (contract 5.5); off while `url` is empty."""

    url: str = ""  # mqtt://host:1883 or mqtts://host:8883
    suite: str = "suite"
    username: str = ""
    password_file: str = ""
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    version: Literal["3.1.1", "5"] = "3.1.1"
    keep_alive_s: int = 10
    outbox_limit: int = 1000


class GeometrySettings(_Section, frozen=True):
    """Where geometry comes from and when it is trusted (design section 4)."""

    shared_frame_of_reference: bool = False  # stream without a Frame of Reference UID shares the volume's frame
    calibration_table: str = ""  # TOML file of the suite's calibration, contract form (c)
    transform_pairing_ms: float = 0.0  # 0: half a frame interval
    maximum_age_ms: float = 500.0  # a frame older than this is not live
    degraded_age_ms: float = 200.0
    minimum_source_to_detector_mm: float = 500.0
    maximum_source_to_detector_mm: float = 2500.0


class ConsistencySettings(_Section, frozen=True):
    """When a picture contradicts its geometry (design section 4)."""

    enabled: bool = True  # hold every frame against the volume's projection
    warning_mm: float = 1.0  # residual at the isocentre above which the overlay is marked
    limit_mm: float = 2.0  # residual above which it goes


class RegistrationSettings(_Section, frozen=True):
    """2D/3D registration of live pictures (contract 5.4)."""

    automatic: bool = False  # register by itself when the patient has moved


class TrackingSettings(_Section, frozen=True):
    """What is followed in live pictures."""

    instruments: bool = True  # needles and pins are looked for along the planned paths


class UncertaintySettings(_Section, frozen=True):
    """What is not told of the geometry's accuracy, one standard deviation each."""

    shift_mm: float = 0.3  # of the isocentre as told
    turn_deg: float = 0.1  # of the angles as told
    principal_point_px: float = 1.0  # of a picture 1024 px wide
    focal_relative: float = 0.001
    timing_ms: float = 5.0  # between the exposure and the geometry that is told for it


class CementSettings(_Section, frozen=True):
    """How cement is followed, and when the server warns (contract 5.4)."""

    profiles: str = ""  # TOML file of the site's cements, added to the built-in ones
    front_threshold_mm: float = 0.5  # cement thinner than this, along the ray, is not counted as cement
    growth_frames: int = 10  # "new growth" is what came within so many frames
    approaching_mm: float = 5.0  # nearer than this to a zone: the first warning
    near_mm: float = 2.0  # nearer than this: the second
    approaching_s: float = 5.0  # time to contact that counts as approaching
    near_s: float = 2.0
    gap_s: float = 0.5  # no frame for so long, or for three frame intervals: paused
    injector_silence_s: float = 3.0  # a running injector that tells nothing for so long: no reading
    missing_ml: float = 0.5  # so much more was injected than is seen ...
    missing_share: float = 0.4  # ... and this share of it: where is the rest?
    filtration_mm_al: float = 3.0  # of the beam, where the stream does not tell
    filtration_mm_cu: float = 0.1


class OverlaySettings(_Section, frozen=True):
    """What is drawn."""

    line_width_px: float = 1.5
    depth_tick_mm: float = 10.0
    text_height_px: int = 16
    zones: bool = True
    zone_labels: bool = True
    view_aids: bool = True
    bands: bool = True
    cement: bool = True


class PlanningSettings(_Section, frozen=True):
    """Zones, clearance, corridors and views (contract 5.1 and 5.4)."""

    instruments: str = ""  # TOML file of the site's instruments, added to the built-in library
    c_arms: str = ""  # TOML file of the site's C-arm models
    c_arm: str = "generic_floor"  # whose reach and housings views are checked with
    tip_length_mm: float = 20.0  # the last part of a screw of which HU statistics are told
    preserved_bone_hu: float = 150.0  # above it, bone counts as preserved
    maximum_import_mib: int = 256
    undo_steps: int = 100


class LogSettings(_Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    json: bool = False


class Settings(_Section, frozen=True):
    """Everything a site can set; every default is in `deploy/guidance.toml`."""

    data: DataSettings = DataSettings()
    dicom: DicomSettings = DicomSettings()
    openigtlink: OpenIGTLinkSettings = OpenIGTLinkSettings()
    http: HttpSettings = HttpSettings()
    mqtt: MqttSettings = MqttSettings()
    geometry: GeometrySettings = GeometrySettings()
    consistency: ConsistencySettings = ConsistencySettings()
    registration: RegistrationSettings = RegistrationSettings()
    tracking: TrackingSettings = TrackingSettings()
    uncertainty: UncertaintySettings = UncertaintySettings()
    cement: CementSettings = CementSettings()
    overlay: OverlaySettings = OverlaySettings()
    planning: PlanningSettings = PlanningSettings()
    log: LogSettings = LogSettings()


def settings_from_text(toml_text: str, environment: Mapping[str, str], *, origin: str = "configuration") -> Settings:
    """Build the settings from a TOML text, overridden by `GUIDANCE_<SECTION>_<KEY>` variables.

    Args:
        toml_text: the file's content; "" for defaults.
        environment: process environment; unknown `GUIDANCE_` names are errors. Lists are comma-separated.
        origin: the file's name, for the error.

    Raises:
        ConfigError: not TOML, unknown section or key, wrong type or a value out of range; names it and the mend.
    """
    try:
        table = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{origin} is not valid TOML: {error}", code="not_toml", mend="see deploy/guidance.toml"
        ) from None
    _override(table, environment)
    try:
        settings = msgspec.convert(table, Settings, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{origin}: {error}", code="bad_setting", mend="every key with its default is in deploy/guidance.toml"
        ) from None
    _check_ranges(settings, origin)
    return settings


def environment_names() -> dict[str, tuple[str, str]]:
    """All environment variables the server reads: name -> (section, key)."""
    return {
        f"GUIDANCE_{section}_{key}".upper(): (section, key)
        for section, section_type in get_type_hints(Settings).items()
        for key in section_type.__struct_fields__
    }


def _override(table: dict[str, Any], environment: Mapping[str, str]) -> None:
    names = environment_names()
    for name, text in sorted(environment.items()):
        if not name.startswith("GUIDANCE_"):
            continue
        if name not in names:
            raise ConfigError(
                f"unknown environment variable {name}", code="unknown_setting", mend="unset it or mend its name"
            )
        section, key = names[name]
        entries = table.setdefault(section, {})
        if not isinstance(entries, dict):
            raise ConfigError(f"[{section}] is not a table", code="bad_setting", mend=f"write a section [{section}]")
        entries[key] = _from_text(name, text, type(getattr(getattr(Settings(), section), key)))


def _from_text(name: str, text: str, kind: type) -> object:
    try:
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
        if kind is tuple:
            return [part.strip() for part in text.split(",") if part.strip()]
        return kind(text)
    except (KeyError, ValueError):
        raise ConfigError(
            f"{name}={text!r} is not a {kind.__name__}", code="bad_setting", mend="mend its value"
        ) from None


_POSITIVE = {
    "dicom": ("series_quiet_s", "maximum_associations"),
    "openigtlink": (
        [
            "maximum_body_mib",
            "maximum_connections",
            "owner_silence_s",
            "input_silence_s",
            "client_stall_s",
            "heartbeat_s",
            "keep_alive_s",
        ]
    ),
    "http": ("picture_rate_hz",),
    "mqtt": ("keep_alive_s", "outbox_limit"),
    "geometry": ["maximum_age_ms", "degraded_age_ms", "minimum_source_to_detector_mm", "maximum_source_to_detector_mm"],
    "consistency": ("warning_mm", "limit_mm"),
    "cement": [
        "front_threshold_mm",
        "growth_frames",
        "approaching_mm",
        "near_mm",
        "approaching_s",
        "near_s",
        "gap_s",
        "injector_silence_s",
        "missing_ml",
        "missing_share",
        "filtration_mm_al",
    ],
    "overlay": ("line_width_px", "depth_tick_mm", "text_height_px"),
    "planning": ("tip_length_mm", "maximum_import_mib", "undo_steps"),
}


def _check_ranges(settings: Settings, origin: str) -> None:
    def refuse(name: str, value: object, mend: str) -> None:
        raise ConfigError(f"{origin}: {name} = {value!r}", code="bad_setting", mend=mend)

    ports = {
        "dicom.port": settings.dicom.port,
        "openigtlink.input_port": settings.openigtlink.input_port,
        "openigtlink.output_port": settings.openigtlink.output_port,
        "http.port": settings.http.port,
    }
    for name, port in ports.items():
        if not 0 <= port <= 65535:
            refuse(name, port, "a port is 1 to 65535, or 0 for any free one")
    taken = [port for port in ports.values() if port]
    if len(set(taken)) != len(taken):
        refuse("ports", ports, "give every listener its own port")
    for section, keys in _POSITIVE.items():
        for key in keys:
            if not getattr(getattr(settings, section), key) > 0:
                refuse(f"{section}.{key}", getattr(getattr(settings, section), key), "must be greater than 0")
    for key in UncertaintySettings.__struct_fields__:
        if not 0.0 <= getattr(settings.uncertainty, key) < math.inf:
            refuse(f"uncertainty.{key}", getattr(settings.uncertainty, key), "must not be negative")
    title = settings.dicom.ae_title
    if not (0 < len(title.strip()) <= 16 and title.isascii() and title.isprintable() and "\\" not in title):
        refuse("dicom.ae_title", title, "1 to 16 printable ASCII characters without a backslash")
    if not 1 <= settings.http.jpeg_quality <= 100:
        refuse("http.jpeg_quality", settings.http.jpeg_quality, "1 to 100")
    if bool(settings.dicom.tls_certificate) != bool(settings.dicom.tls_key):
        refuse("dicom.tls_certificate", settings.dicom.tls_certificate, "certificate and key come together")
    for target in settings.openigtlink.connect:
        host, _, port_text = target.rpartition(":")
        if not host or not port_text.isdigit() or not 0 < int(port_text) <= 65535:
            refuse("openigtlink.connect", target, "write host:port")
    if settings.mqtt.url and not settings.mqtt.url.startswith(("mqtt://", "mqtts://")):
        refuse("mqtt.url", settings.mqtt.url, "write mqtt://host:1883 or mqtts://host:8883")
