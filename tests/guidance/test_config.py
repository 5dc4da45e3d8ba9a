"""The settings: the commented file is the truth, every key has its variable, wrong ones are named with the mend."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from guidance.config import Settings, environment_names, settings_from_text
from guidance.errors import ConfigError

_FILE = Path(__file__).parents[2] / "deploy" / "guidance.toml"


def test_commented_file_states_every_key_with_its_default() -> None:
    text = _FILE.read_text(encoding="utf-8")
    assert tomllib.loads(text) == msgspec.json.decode(msgspec.json.encode(Settings()))
    assert settings_from_text(text, {}) == Settings()


def test_every_section_of_the_file_is_explained() -> None:
    keys = re.findall(r"^(\w+) = .*$", _FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(keys) == len(environment_names())


@pytest.mark.parametrize(
    ("name", "text", "section", "key", "value"),
    [
        ("GUIDANCE_DATA_DIR", "/srv/x", "data", "dir", "/srv/x"),
        ("GUIDANCE_DICOM_PORT", "11113", "dicom", "port", 11113),
        ("GUIDANCE_OPENIGTLINK_INPUT_PORT", "1", "openigtlink", "input_port", 1),
        ("GUIDANCE_OPENIGTLINK_OUTPUT_PORT", "2", "openigtlink", "output_port", 2),
        ("GUIDANCE_HTTP_PORT", "3", "http", "port", 3),
        ("GUIDANCE_OPENIGTLINK_CONNECT", "a:1, b:2", "openigtlink", "connect", ("a:1", "b:2")),
        ("GUIDANCE_GEOMETRY_SHARED_FRAME_OF_REFERENCE", "true", "geometry", "shared_frame_of_reference", True),
        ("GUIDANCE_DICOM_SERIES_QUIET_S", "0.5", "dicom", "series_quiet_s", 0.5),
    ],
)
def test_environment_overrides_the_file(name: str, text: str, section: str, key: str, value: object) -> None:
    settings = settings_from_text(_FILE.read_text(encoding="utf-8"), {name: text, "HOME": "/"})
    assert getattr(getattr(settings, section), key) == value


@pytest.mark.parametrize(
    ("text", "environment", "named"),
    [
        ("[dicom", {}, "TOML"),
        ("[dicm]\nport = 1", {}, "dicm"),
        ("[dicom]\nprt = 1", {}, "prt"),
        ("[dicom]\nport = 'x'", {}, "dicom.port"),
        ("[dicom]\nport = 70000", {}, "dicom.port"),
        ("dicom = 3", {"GUIDANCE_DICOM_PORT": "1"}, "dicom"),
        ("[http]\nport = 11112", {}, "own port"),
        ("[dicom]\nseries_quiet_s = 0", {}, "series_quiet_s"),
        ("[dicom]\nseries_quiet_s = nan", {}, "series_quiet_s"),
        ("[dicom]\nae_title = 'ABCDEFGHIJKLMNOPQ'", {}, "ae_title"),
        ("[dicom]\nae_title = '  '", {}, "ae_title"),
        ("[dicom]\ntls_key = 'k.pem'", {}, "tls_certificate"),
        ("[openigtlink]\nconnect = ['host']", {}, "host:port"),
        ("[openigtlink]\ntransform_frame = 'xyz'", {}, "transform_frame"),
        ("[mqtt]\nurl = 'http://x'", {}, "mqtt.url"),
        ("[http]\njpeg_quality = 0", {}, "jpeg_quality"),
        ("", {"GUIDANCE_NOT_A_KEY": "1"}, "GUIDANCE_NOT_A_KEY"),
        ("", {"GUIDANCE_HTTP_PORT": "eighty"}, "GUIDANCE_HTTP_PORT"),
        ("", {"GUIDANCE_DICOM_ENABLED": "perhaps"}, "GUIDANCE_DICOM_ENABLED"),
    ],
)
def test_wrong_settings_are_refused_by_name(text: str, environment: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from_text(text, environment, origin="site.toml")
    assert named in str(caught.value)
    assert caught.value.mend
