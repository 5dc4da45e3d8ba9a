// The chosen path: how near it comes to everything, how far it has come, and from where to look at it.

import { asProblem, request } from "./api.js";
import { byId, h, setText, showWhenChanged } from "./dom.js";
import { millimetres } from "./forms.js";
import type { Clearance, Finding, InputGeometry, LiveState, Path, Stage, View, Views } from "./types.js";

const AGAIN_MS = 5000; // bone and skin take seconds to work out after a volume came
const STAGES: Record<Stage, string> = {
  planned: "Planned", placed: "Pin placed", verified: "Verified", screw_in: "Screw in", cemented: "Cemented",
};
const KINDS = { bulls_eye: "Bull's-eye", progression: "Progression", en_face: "En face" };

const NARROW_MM = 2;

export class PlanPanel {
  private path: Path | null = null;
  private key = "";
  private askedAt = -Infinity;
  private asking = false;
  private clearance: Clearance | null = null;
  private views: Views | null = null;
  private problem = "";
  private live: Pick<LiveState, "inputs"> = { inputs: {} };

  // `told` hears of each new clearance.
  constructor(private readonly changed: () => void, private readonly told: (path: Path | null, clearance: Clearance | null) => void) {}

  // `rest` is everything else that the answers depend on.
  show(path: Path | null, rest: unknown, zoneNames: Map<string, string>): void {
    const key = JSON.stringify([path, rest]);
    if (key !== this.key) {
      if (path?.id !== this.path?.id) [this.clearance, this.views, this.problem] = [null, null, ""];
      [this.path, this.key, this.askedAt] = [path, key, -Infinity];
      this.told(path, this.clearance);
    }
    if (path?.in_active_frame && !this.asking && performance.now() - this.askedAt > AGAIN_MS) void this.ask(path, key);
    this.write(zoneNames);
  }

  tell(live: Pick<LiveState, "inputs">): void {
    this.live = live;
    this.offsets();
  }

  private async ask(path: Path, key: string): Promise<void> {
    [this.asking, this.askedAt] = [true, performance.now()];
    const resource = `/paths/${encodeURIComponent(path.id)}`;
    try {
      const [clearance, views] = await Promise.all([
        request<Clearance>("GET", `${resource}/clearance`),
        request<Views>("GET", `${resource}/views`),
      ]);
      // What was asked about a path that has moved since is not shown beside the moved one.
      if (key !== this.key) return;
      [this.clearance, this.views, this.problem] = [clearance, views, ""];
    } catch (error) {
      if (key !== this.key) return;
      [this.clearance, this.views, this.problem] = [null, null, asProblem(error).detail];
    } finally {
      this.asking = false;
    }
    this.told(path, this.clearance);
    this.changed();
  }

  private write(zoneNames: Map<string, string>): void {
    const path = this.path;
    showWhenChanged(byId("plan"), [path, this.clearance, this.views, this.problem], () => path ? this.content(path, zoneNames) : []);
    this.offsets();
  }

  private content(path: Path, zoneNames: Map<string, string>): HTMLElement[] {
    const clearance = this.clearance;
    const parts = [
      h("div", { class: "title" }, h("h2", {}, `Plan of ${path.label}`), h("span", { class: "tag none" }, STAGES[path.stage])),
      h("div", { class: "stages" }, ...path.next_stages.map((stage) =>
        h("button", { "data-stage": stage, click: () => void this.step(path, stage) }, `→ ${STAGES[stage]}`))),
    ];
    if (this.problem) parts.push(h("p", { class: "note bad", role: "status" }, `✕ ${this.problem}`));
    else if (!path.in_active_frame) parts.push(h("p", { class: "note" }, "– planned in another frame of reference: nothing is reckoned"));
    else if (!clearance) parts.push(h("p", { class: "note" }, "… being worked out"));
    if (clearance) parts.push(this.clearanceTable(clearance), ...clearance.findings.map(finding));
    if (this.views) parts.push(...this.viewList(this.views, zoneNames));
    return parts;
  }

  private clearanceTable(clearance: Clearance): HTMLElement {
    const margin = clearance.margin_mm;
    // Below 2 mm the voxels and the registration may take all of it.
    const level = margin === null || (margin > 0 && margin < NARROW_MM) ? "caution" : margin > 0 ? "good" : "bad";
    const sign = margin === null ? "?" : margin >= NARROW_MM ? "✓" : margin > 0 ? "!" : "✕";
    const nearest = clearance.zones[0];
    const rows: [string, string, string?][] = [
      ["Margin", `${sign} ${millimetres(margin)}`, level],
      ["In bone", millimetres(clearance.bone_margin_mm)],
      ["Nearest zone", nearest ? `${nearest.name}, ${millimetres(nearest.min_distance_mm)}` : "none"],
      ["Length", millimetres(clearance.length_mm)],
      ["Skin to bone", millimetres(clearance.skin_to_bone_mm)],
      ["Bone to target", millimetres(clearance.bone_to_target_mm)],
      ["Target to far cortex", millimetres(clearance.target_to_far_cortex_mm)],
      ["Mediolateral", `${clearance.mediolateral_deg.toFixed(1)}°`],
      ["Craniocaudal", `${clearance.craniocaudal_deg.toFixed(1)}°`],
      ["Approach", clearance.approach.name || "none fits"],
    ];
    if (clearance.suggested_length_mm !== null) rows.push(["Longest that fits", millimetres(clearance.suggested_length_mm)]);
    const tip = clearance.tip_bone;
    if (tip) rows.push([`Last ${tip.length_mm.toFixed(0)} mm`, `${tip.mean_hu.toFixed(0)} HU, ${(100 * tip.bone_part).toFixed(0)} % bone`]);
    for (const other of clearance.paths) rows.push([`To ${other.label || other.path_id}`, millimetres(other.min_distance_mm), other.min_distance_mm > 0 ? "" : "bad"]);
    return h("table", { class: "figures", id: "clearance" }, h("tbody", {}, ...rows.map(([name, value, rank]) =>
      h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: rank || "plain" }, value)))));
  }

  private viewList(views: Views, zoneNames: Map<string, string>): HTMLElement[] {
    return [
      h("h3", {}, "Views"),
      h("ul", { class: "list", id: "path-views" }, ...views.views.map((view, at) =>
        h("li", { class: view.reachable ? "angles" : "angles unreachable", "data-view": at },
          h("div", { class: "what" },
            h("strong", {}, `${KINDS[view.kind]}${view.zone_id ? ` ${zoneNames.get(view.zone_id) ?? view.zone_id}` : ""}`),
            h("span", {}, `${angle(view.primary_deg, "LAO", "RAO")}  ${angle(view.secondary_deg, "CRAN", "CAUD")}`),
            h("span", {}, view.reachable ? view.reason : `✕ ${view.reason}`)),
          h("span", { class: "off" })))),
      ...views.findings.map(finding),
    ];
  }

  // How far the present view of each input is off each of these, four times a second.
  private offsets(): void {
    for (const place of document.querySelectorAll<HTMLElement>("#path-views [data-view]")) {
      const view = this.views?.views[Number(place.dataset["view"])];
      const words = view ? Object.entries(this.live.inputs).map(([device, input]) => offset(view, device, input, this.live)) : [];
      const off = place.querySelector(".off");
      if (off) setText(off, words.filter(Boolean).join("\n"));
    }
  }

  private async step(path: Path, stage: Stage): Promise<void> {
    await request("POST", `/paths/${encodeURIComponent(path.id)}/stage`, { stage }).catch((error: unknown) => alert(String(error)));
    this.changed();
  }
}

// Angle between an input's central ray (third row of its matrix, which grows away from the source) and a view's.
function offset(view: View, device: string, input: InputGeometry, live: Pick<LiveState, "inputs">): string {
  const matrix = input.pixel_from_patient;
  const trusted = input.geometry_state === "trusted" || input.geometry_state === "degraded";
  if (!matrix || !trusted || Math.hypot(matrix[8] ?? 0, matrix[9] ?? 0, matrix[10] ?? 0) === 0) return "";
  const [p, s] = [view.primary_deg, view.secondary_deg].map((degrees) => (degrees * Math.PI) / 180) as [number, number];
  const wanted = [Math.sin(p) * Math.cos(s), -Math.cos(p) * Math.cos(s), Math.sin(s)] as const;
  const [x, y, z] = [matrix[8] ?? 0, matrix[9] ?? 0, matrix[10] ?? 0];
  const along = x * wanted[0] + y * wanted[1] + z * wanted[2];
  const across = Math.hypot(y * wanted[2] - z * wanted[1], z * wanted[0] - x * wanted[2], x * wanted[1] - y * wanted[0]);
  const degrees = (Math.atan2(across, along) * 180) / Math.PI;
  const name = Object.keys(live.inputs).length > 1 ? `${device} ` : "";
  return `${name}${degrees.toFixed(0)}° off`;
}

function finding(found: Finding): HTMLElement {
  return h("p", { class: `note ${found.severity === "error" ? "bad" : "caution"}` }, `${found.severity === "error" ? "✕" : "▲"} ${found.message}`);
}

function angle(degrees: number, positive: string, negative: string): string {
  return `${Math.abs(degrees).toFixed(1)}° ${degrees < 0 ? negative : positive}`;
}
