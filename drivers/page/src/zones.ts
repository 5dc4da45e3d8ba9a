// The zones: what must not be hit and what shall be reached; list, draw as a tube, import, hide, delete.

import { asProblem, request } from "./api.js";
import { byId, confirmWith, h, setText, showWhenChanged } from "./dom.js";
import { Said, choice, editor, field, millimetres, point, showFaults } from "./forms.js";
import type { Clearance, Finding, Path, Zone, ZoneClearance } from "./types.js";

const SITES: [string, string][] = [
  ["foramen", "Foramen"], ["canal", "Canal"], ["ventral_surface", "Ventral surface"], ["si_joint", "SI joint"], ["disc", "Disc"],
  ["vein", "Vein"], ["needle_track", "Needle track"], ["skin", "Skin"], ["bone", "Bone"], ["lesion", "Lesion"], ["other", "Other"],
];
const SIDES: [string, string][] = [["", "–"], ["left", "Left"], ["right", "Right"], ["midline", "Midline"]];
const KINDS: [string, string][] = [["keep_out", "Keep out"], ["target", "Target"]];
const IMPORT_WITHIN_MS = 120_000;

export class ZonePanel {
  private zones: Zone[] = [];
  private outlined = true;
  private path: Path | null = null;
  private clearance: Clearance | null = null;

  constructor(private readonly changed: () => void) {
    byId("new-zone").addEventListener("click", () => this.draw());
    byId("import-zones").addEventListener("click", () => this.import());
    byId("outlines").addEventListener("click", () => void this.switchAll());
  }

  show(zones: Zone[], outlined: boolean): void {
    [this.zones, this.outlined] = [zones, outlined];
    setText(byId("outlines"), outlined ? "Outlines off" : "Outlines on");
    this.list();
  }

  // The distances are those of the chosen path.
  tell(path: Path | null, clearance: Clearance | null): void {
    [this.path, this.clearance] = [path, clearance];
    this.list();
  }

  private list(): void {
    const near = new Map((this.clearance?.zones ?? []).map((zone) => [zone.zone_id, zone]));
    const path = this.path;
    showWhenChanged(byId("zones"), [this.zones, [...near], path?.id, path?.permitted_zone_ids], () =>
      this.zones.length
        ? this.zones.map((zone) => this.row(zone, near.get(zone.id) ?? null))
        : [h("li", { class: "empty" }, "No zone yet. Draw one, import a label map, or send a Segmentation by DICOM.")]);
  }

  private row(zone: Zone, near: ZoneClearance | null): HTMLElement {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = zone.color; // by script, for the page's policy allows no style attributes
    const facts = [zone.site.replace("_", " "), zone.side, zone.level, zone.kind === "target" ? "target" : ""];
    const hit = near !== null && near.min_distance_mm <= 0 && zone.kind === "keep_out";
    return h("li", { "data-zone": zone.id, class: zone.shown && zone.in_active_frame ? "zone" : "zone hidden-zone" },
      swatch,
      h("div", { class: "what" }, h("strong", {}, zone.name), h("span", {}, facts.filter(Boolean).join(" · ")),
        zone.in_active_frame ? null : h("span", { class: "note" }, "– of another frame of reference, not drawn"),
        near && this.path ? this.distance(near, zone) : null),
      h("div", { class: "actions" },
        hit && this.path
          ? h("button", { click: () => void this.permit(zone, !near.permitted), "aria-label": `permit ${zone.name}` },
            near.permitted ? "Forbid" : "Permit")
          : null,
        h("button", { click: () => void this.patch(zone, { shown: !zone.shown }), "aria-label": `show ${zone.name}`, "aria-pressed": String(zone.shown) },
          zone.shown ? "Hide" : "Show"),
        h("button", { click: () => void this.remove(zone), "aria-label": `delete ${zone.name}` }, "Delete")));
  }

  private distance(near: ZoneClearance, zone: Zone): HTMLElement {
    const words = `${millimetres(near.min_distance_mm)} at depth ${near.at_depth_mm.toFixed(0)} mm`;
    if (near.min_distance_mm > 0) return h("span", { class: "distance" }, words);
    if (zone.kind === "target") return h("span", { class: "note good" }, `✓ reached: ${words}`);
    return near.permitted
      ? h("span", { class: "note caution" }, `▲ touched, permitted: ${words}`)
      : h("span", { class: "note bad" }, `✕ HIT: ${words}`);
  }

  private draw(): void {
    editor("New zone: a tube through points", [
      h("div", { class: "row" }, field("name", "Name", "", { maxlength: "64", required: "" }), choice("site", "Site", SITES)),
      h("div", { class: "row" }, choice("side", "Side", SIDES), choice("kind", "Kind", KINDS)),
      point("point.0", "First point, mm (left, posterior, head)", null),
      point("point.1", "Second point", null),
      point("point.2", "Third point, or empty", null, false),
      field("shape.radius_mm", "Radius, mm", "", { inputmode: "decimal", required: "" }),
    ], "Save", (form, summary) => this.save(form, summary));
  }

  private async save(form: HTMLFormElement, summary: HTMLElement): Promise<boolean> {
    const said = new Said(form);
    const points = [0, 1, 2].map((at) => said.point(`point.${at}`)).filter((place) => place.some((part) => part !== ""));
    const body = {
      name: said.text("name"), site: said.text("site"), side: said.text("side") || null, kind: said.text("kind"),
      shape: { type: "tube", points_lps_mm: points, radius_mm: said.number("shape.radius_mm") },
    };
    return this.sent(form, summary, () => request("POST", "/zones", body));
  }

  private import(): void {
    editor("Import zones", [
      h("label", { class: "field" }, h("span", {}, "NIfTI label map, DICOM Segmentation, RT Structure Set or markups"),
        h("input", { type: "file", name: "labels", required: true })),
      h("label", { class: "field" }, h("span", {}, "Names of a label map's numbers (none: TotalSegmentator's)"),
        h("input", { type: "file", name: "names" })),
    ], "Import", (form, summary) => {
      const said = new FormData(form);
      const names = said.get("names");
      if (!(names instanceof File) || names.size === 0) said.set("names", "totalsegmentator");
      summary.textContent = "Reading …";
      return this.sent(form, summary, async () => {
        const answer = await request<{ items: Zone[]; findings: Finding[] }>("POST", "/zones/import", said, IMPORT_WITHIN_MS);
        const told = answer.findings.map((found) => `▲ ${found.message}`);
        if (told.length) alert(`${answer.items.length} zones.\n${told.join("\n")}`);
      });
    });
  }

  private async sent(form: HTMLFormElement, summary: HTMLElement, send: () => Promise<unknown>): Promise<boolean> {
    try {
      await send();
    } catch (error) {
      showFaults(form, summary, asProblem(error));
      return false;
    }
    this.changed();
    return true;
  }

  private async permit(zone: Zone, allowed: boolean): Promise<void> {
    const path = this.path;
    if (!path) return;
    const words = `Path “${path.label}” touches “${zone.name}”. Permit that? It stays a place where cement may leak.`;
    if (allowed && !(await confirmWith(words, "Permit"))) return;
    const others = path.permitted_zone_ids.filter((id) => id !== zone.id);
    await request("PATCH", `/paths/${encodeURIComponent(path.id)}`, { permitted_zone_ids: allowed ? [...others, zone.id] : others })
      .catch((error: unknown) => alert(String(error)));
    this.changed();
  }

  private async switchAll(): Promise<void> {
    await request("PUT", "/case", { zones_shown: !this.outlined }).catch((error: unknown) => alert(String(error)));
    this.changed();
  }

  private async patch(zone: Zone, fields: Record<string, unknown>): Promise<void> {
    await request("PATCH", `/zones/${encodeURIComponent(zone.id)}`, fields).catch((error: unknown) => alert(String(error)));
    this.changed();
  }

  private async remove(zone: Zone): Promise<void> {
    if (!(await confirmWith(`Delete zone “${zone.name}”?`, "Delete"))) return;
    await request("DELETE", `/zones/${encodeURIComponent(zone.id)}`).catch((error: unknown) => alert(String(error)));
    this.changed();
  }
}
