// The planned paths: list, make, change, delete.

import { Refusal, request } from "./api.js";
import { byId, confirmWith, h, showWhenChanged } from "./dom.js";
import type { LiveState, Path, Problem } from "./types.js";

const AXES = ["L", "P", "H"]; // directions in which LPS coordinates grow

export class PathPanel {
  private paths: Path[] = [];
  private live: LiveState = { inputs: {} };

  constructor(private readonly changed: () => void) {
    byId("new-path").addEventListener("click", () => this.edit(null));
  }

  show(paths: Path[]): void {
    this.paths = paths;
    this.list();
  }

  tell(live: LiveState): void {
    this.live = live;
    this.list();
  }

  private list(): void {
    const places = this.paths.map((path) => this.place(path));
    showWhenChanged(byId("paths"), [this.paths, places], () =>
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
    return h("li", { "data-path": path.id, class: place ? "path hidden-path" : "path" },
      swatch,
      h("div", { class: "what" }, h("strong", {}, path.label), h("span", {}, facts),
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
    const field = (name: string, label: string, value: string | number, extra: Record<string, string> = {}): HTMLElement =>
      h("label", { class: "field", "data-field": name }, h("span", {}, label),
        h("input", { name, value, autocomplete: "off", ...extra }), h("em", { class: "fault" }));
    const vector = (name: string, label: string, values: number[] | null): HTMLElement =>
      h("fieldset", { class: "field", "data-field": name }, h("legend", {}, label),
        ...AXES.map((axis, at) => h("label", {}, h("span", {}, axis),
          h("input", { name: `${name}.${at}`, value: values?.[at] ?? "", inputmode: "decimal", required: true, autocomplete: "off" }))),
        h("em", { class: "fault" }));
    const summary = h("p", { class: "fault", role: "alert" });
    const form = h("form", {
      submit: (event) => {
        event.preventDefault();
        void this.save(path, form as HTMLFormElement, summary).then((saved) => { if (saved) dialog.close(); });
      },
    },
      h("h2", {}, path ? `Path ${path.id}` : "New path"),
      field("label", "Label", path?.label ?? "", { maxlength: "64" }),
      vector("entry_lps_mm", "Entry, mm (left, posterior, head)", path?.entry_lps_mm ?? null),
      vector("target_lps_mm", "Target, mm (left, posterior, head)", path?.target_lps_mm ?? null),
      h("div", { class: "row" },
        field("diameter_mm", "Diameter, mm", path?.diameter_mm ?? "", { inputmode: "decimal", required: "" }),
        path ? field("color", "Colour", path.color, { type: "color" }) : null),
      h("div", { class: "row" },
        field("instrument", "Instrument", path?.instrument ?? "", { maxlength: "64" }),
        field("approach", "Approach", path?.approach ?? "", { maxlength: "64" })),
      summary,
      h("div", { class: "row end" },
        h("button", { type: "button", click: () => dialog.close() }, "Cancel"),
        h("button", { class: "primary" }, "Save")));
    const dialog = h("dialog", { class: "editor", close: () => dialog.remove() }, form) as HTMLDialogElement;
    document.body.append(dialog);
    dialog.showModal();
  }

  private async save(path: Path | null, form: HTMLFormElement, summary: HTMLElement): Promise<boolean> {
    const said = new FormData(form);
    const text = (name: string): string => String(said.get(name) ?? "").trim();
    // A decimal comma is what half of the world's keypads give. What is no number goes to the server, which says so.
    const number = (name: string): number | string => {
      const told = text(name).replace(",", ".");
      return told !== "" && Number.isFinite(Number(told)) ? Number(told) : text(name);
    };
    const body: Record<string, unknown> = {
      entry_lps_mm: AXES.map((_, at) => number(`entry_lps_mm.${at}`)),
      target_lps_mm: AXES.map((_, at) => number(`target_lps_mm.${at}`)),
      diameter_mm: number("diameter_mm"),
      label: text("label") || null,
      instrument: text("instrument"),
      approach: text("approach"),
    };
    if (said.has("color")) body["color"] = text("color");
    try {
      if (path) await request("PATCH", `/paths/${encodeURIComponent(path.id)}`, body);
      else await request("POST", "/paths", body);
    } catch (error) {
      faults(form, summary, error instanceof Refusal ? error.problem : { detail: String(error) });
      return false;
    }
    this.changed();
    return true;
  }
}

function faults(form: HTMLFormElement, summary: HTMLElement, problem: Problem): void {
  for (const field of form.querySelectorAll<HTMLElement>("[data-field]")) {
    const fault = problem.errors?.find((error) => error.field === field.dataset["field"]);
    const place = field.querySelector(".fault");
    if (place) place.textContent = fault?.message ?? "";
    field.classList.toggle("at-fault", fault !== undefined);
  }
  summary.textContent = problem.errors?.length ? "" : problem.detail;
}
