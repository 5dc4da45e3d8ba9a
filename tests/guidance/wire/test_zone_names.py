"""Guesses from names and codes: what they say, and that they are said."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping

from guidance.messages import ZoneKind, ZoneSide, ZoneSite
from guidance.wire.zone_names import Code, guess_findings, guess_zone, kind_of

S = ZoneSite
LEFT, RIGHT = ZoneSide.LEFT, ZoneSide.RIGHT


@pytest.mark.parametrize(
    ("name", "site", "side", "level"),
    [
        ("Foramen_S1_left", S.FORAMEN, LEFT, "S1"),
        ("Neuroforamen L5/S1 rechts", S.FORAMEN, RIGHT, "L5"),
        ("S2R foramen", S.FORAMEN, RIGHT, "S2"),
        ("foramina sacralia anteriora", S.FORAMEN, None, ""),
        ("Trou sacré S1 gauche", S.FORAMEN, LEFT, "S1"),
        ("Foramen S1 li.", S.FORAMEN, LEFT, "S1"),
        ("SacralCanal", S.CANAL, None, ""),
        ("canalis sacralis", S.CANAL, None, ""),
        ("Sakralkanal", S.CANAL, None, ""),
        ("spinal_cord", S.CANAL, None, ""),
        ("thecal sac", S.CANAL, None, ""),
        ("SI joint right", S.SI_JOINT, RIGHT, ""),
        ("ISG links", S.SI_JOINT, LEFT, ""),
        ("sacroiliac_joint_left", S.SI_JOINT, LEFT, ""),
        ("articulatio sacroiliaca dextra", S.SI_JOINT, RIGHT, ""),
        ("disc L5-S1", S.DISC, None, "L5"),
        ("Bandscheibe LWK4/5", S.DISC, None, "L4"),
        ("ventral cortex of sacrum", S.VENTRAL_SURFACE, None, ""),
        ("anterior_sacral_surface", S.VENTRAL_SURFACE, None, ""),
        ("iliac_vena_left", S.VEIN, LEFT, ""),
        ("Gefäße", S.VEIN, None, ""),
        ("vessels presacral venous", S.VENTRAL_SURFACE, None, ""),
        ("needle track 2", S.NEEDLE_TRACK, None, ""),
        ("Stichkanal", S.NEEDLE_TRACK, None, ""),
        ("Haut", S.SKIN, None, ""),
        ("subcutaneous fat", S.SKIN, None, ""),
        ("Metastase S2 links", S.LESION, LEFT, "S2"),
        ("GTV_1", S.LESION, None, ""),
        ("osteolytic lesion sacrum", S.LESION, None, ""),
        ("vertebrae_L5", S.BONE, None, "L5"),
        ("LWK5", S.BONE, None, "L5"),
        ("BWK 12", S.BONE, None, "T12"),
        ("Th12", S.BONE, None, "T12"),
        ("S1", S.BONE, None, "S1"),
        ("Kreuzbein", S.BONE, None, ""),
        ("os ilium dextrum", S.BONE, RIGHT, ""),
        ("hip_left", S.BONE, LEFT, ""),
    ],
)
def test_names(name: str, site: ZoneSite, side: ZoneSide | None, level: str) -> None:
    guess = guess_zone(name)
    assert (guess.site, guess.side, guess.level) == (site, side, level)
    assert guess.kind is (ZoneKind.TARGET if site in (S.BONE, S.LESION) else ZoneKind.KEEP_OUT)
    assert guess.reason


@pytest.mark.parametrize(
    "name",
    [
        "aorta",
        "iliac_artery_left",
        "Harnblase",
        "psoas L",
        "nerve root L5",
        "iliosacral screw",
        "foramen obturatum left",
    ],
)
def test_anatomy_without_a_site_is_kept_out_of_and_known(name: str) -> None:
    guess = guess_zone(name)
    assert (guess.site, guess.kind) == (S.OTHER, ZoneKind.KEEP_OUT)
    assert guess.reason


@pytest.mark.parametrize("name", ["GREEN", "label 7", "", "Segment_1", "ROI-3", "L9", "S9", "ßüö", "\0", "x" * 5000])
def test_what_tells_nothing_stays_unknown(name: str) -> None:
    guess = guess_zone(name)
    assert (guess.site, guess.kind, guess.level, guess.reason) == (S.OTHER, ZoneKind.KEEP_OUT, "", "")


def test_left_and_right_together_are_no_side() -> None:
    assert guess_zone("foramina left and right").side is None


def test_codes_go_before_words_and_words_make_bone_finer() -> None:
    vein = Code(scheme="SCT", value="46027005", meaning="Common iliac vein")
    assert guess_zone("DARK_BLUE", [vein]).site is S.VEIN
    assert guess_zone("sacrum", [vein]).site is S.VEIN
    sacrum = Code(scheme="SRT", value="T-11AD0", meaning="Sacrum")
    assert guess_zone("Segment 1", [sacrum]).site is S.BONE
    assert guess_zone("Foramen S2", [sacrum]).site is S.FORAMEN
    assert guess_zone("x", [Code(scheme="99MINE", value="46027005")]).site is S.OTHER
    assert guess_zone("x", [Code(scheme="SCT", value="49668003")]).level == "L5"
    tissue = Code(scheme="SCT", value="85756007", meaning="Tissue")
    assert (
        guess_zone("Segment 1", [tissue, Code(scheme="99X", value="1", meaning="Sacroiliac joint")]).site is S.SI_JOINT
    )
    modifier = Code(scheme="SCT", value="24028007", meaning="Right")
    assert guess_zone("foramen left", laterality=[modifier]).side is RIGHT
    both = [modifier, Code(scheme="SCT", value="7771000")]
    assert guess_zone("foramen", laterality=both).side is None


def test_every_code_is_in_the_public_tables() -> None:
    table = tomllib.loads(resources.files("guidance.wire").joinpath("data/zone_codes.toml").read_text("utf-8"))["SCT"]
    public = {code for codes in concepts["SCT"].values() for code in codes}
    from_srt = mapping["SRT"]
    for code, row in table.items():
        if code == "65985001":  # S1 vertebra: SNOMED CT has it, DICOM's tables do not; from TotalSegmentator's mapping
            continue
        assert code in public, row
        if "srt" in row:
            assert from_srt[row["srt"]] == code
        assert kind_of(ZoneSite(row["site"]))
        told = guess_zone(row["meaning"])
        if row["site"] not in ("other",) and told.reason:
            assert told.site.value == row["site"], row


def test_guesses_are_said_aloud() -> None:
    guesses = [(name, guess_zone(name)) for name in ("foramen S1 left", "GREEN", "sacrum")]
    unknown, guessed = guess_findings(guesses)
    assert (unknown.code, guessed.code) == ("unknown_site", "guessed_site")
    assert "GREEN" in unknown.message
    assert "foramen S1 left: foramen left S1 keep_out from the word 'foramen'" in guessed.message
    assert "sacrum: bone target" in guessed.message
    assert guess_findings([]) == ()
