// The planned paths: list, make, change, delete.

import { asProblem, request } from "./api.js";
import { byId, confirmWith, h, showWhenChanged } from "./dom.js";
import { Said, editor, field, point, showFaults } from "./forms.js";
import type { LiveState, Path } from "./types.js";

export class PathPanel {
  private paths: Path[] = [];
  private live: Pick<LiveState, "inputs"> = { inputs: {} };
  private chosenId = "";

  constructor(private readonly changed: () => void) {
    byId("new-path").addEventListener("click", () => this.edit(null));
  }

  show(paths: Path[]): void {
    this.paths = paths;
    this.list();
  }

  // The path whose plan is shown: the one that was clicked, else the first.
  chosen(): Path | null {
    return this.paths.find((path) => path.id === this.chosenId) ?? this.paths[0] ?? null;
  }

  private choose(path: Path): void {
    this.chosenId = path.id;
    this.list();
    this.changed();
  }

  tell(live: LiveState): void {
    this.live = live;
    this.list();
  }

  private list(): void {
    const places = this.paths.map((path) => this.place(path));
    showWhenChanged(byId("paths"), [this.paths, places, this.chosen()?.id], () =>
      this.paths.length
        ? this.paths.map((path, at) => this.row(path, places[at] ?? ""))
        : [h("li", { class: "empty" }, "No path is planned yet.")]);
  }

  private place(path: Path): string {
    if (!path.in_active_frame) return "planned in another frame of reference, not drawn";
    const inputs = Object.values(this.live.inputs);
    const drawn = inputs.some((input) => input.paths.some((place) => place.id === path.id && place.drawn));
    return inputs.length && !drawn ? "not drawn" : "";
  }

  private row(path: Path, place: string): HTMLElement {
    const length = Math.hypot(...path.entry_lps_mm.map((value, axis) => value - (path.target_lps_mm[axis] ?? 0)));
    const facts = `Ø ${path.diameter_mm.toFixed(1)} mm · depth ${length.toFixed(0)} mm`;
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = path.color; // by script, for the page's policy allows no style attributes
    const chosen = this.chosen() === path;
    return h("li", { "data-path": path.id, class: `path${place ? " hidden-path" : ""}${chosen ? " chosen" : ""}` },
      swatch,
      h("div", {
        class: "what", role: "button", tabindex: "0", "aria-pressed": String(chosen),
        click: () => this.choose(path),
        keydown: (event) => { if ((event as KeyboardEvent).key === "Enter") this.choose(path); },
      }, h("strong", {}, path.label), h("span", {}, facts),
        path.instrument ? h("span", {}, path.instrument) : null,
        place ? h("span", { class: "note" }, `– ${place}`) : null),
      h("div", { class: "actions" },
        h("button", { click: () => this.edit(path), "aria-label": `change ${path.label}` }, "Edit"),
        h("button", { click: () => void this.remove(path), "aria-label": `delete ${path.label}` }, "Delete")));
  }

  private async remove(path: Path): Promise<void> {
    if (!(await confirmWith(`Delete path “${path.label}”?`, "Delete"))) return;
    await request("DELETE", `/paths/${encodeURIComponent(path.id)}`).catch((error: unknown) => alert(String(error)));
    this.changed();
  }

  private edit(path: Path | null): void {
    editor(path ? `Path ${path.id}` : "New path", [
      field("label", "Label", path?.label ?? "", { maxlength: "64" }),
      point("entry_lps_mm", "Entry, mm (left, posterior, head)", path?.entry_lps_mm ?? null),
      point("target_lps_mm", "Target, mm (left, posterior, head)", path?.target_lps_mm ?? null),
      h("div", { class: "row" },
        field("diameter_mm", "Diameter, mm", path?.diameter_mm ?? "", { inputmode: "decimal", required: "" }),
        path ? field("color", "Colour", path.color, { type: "color" }) : null),
      h("div", { class: "row" },
        field("instrument", "Instrument", path?.instrument ?? "", { maxlength: "64" }),
        field("approach", "Approach", path?.approach ?? "", { maxlength: "64" })),
    ], "Save", (form, summary) => this.save(path, form, summary));
  }

  private async save(path: Path | null, form: HTMLFormElement, summary: HTMLElement): Promise<boolean> {
    const said = new Said(form);
    const body: Record<string, unknown> = {
      entry_lps_mm: said.point("entry_lps_mm"),
      target_lps_mm: said.point("target_lps_mm"),
      diameter_mm: said.number("diameter_mm"),
      label: said.text("label") || null,
      instrument: said.text("instrument"),
      approach: said.text("approach"),
    };
    if (said.has("color")) body["color"] = said.text("color");
    try {
      if (path) await request("PATCH", `/paths/${encodeURIComponent(path.id)}`, body);
      else await request("POST", "/paths", body);
    } catch (error) {
      showFaults(form, summary, asProblem(error));
      return false;
    }
    this.changed();
    return true;
  }
}
