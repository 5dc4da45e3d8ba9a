// What the dialogs share: fields, points, choices, the numbers in them, and what the server says against them.

import { h } from "./dom.js";
import type { Problem, Vector3 } from "./types.js";

export const AXES = ["L", "P", "H"]; // directions in which LPS coordinates grow

export function field(name: string, label: string, value: string | number, extra: Record<string, string> = {}): HTMLElement {
  return h("label", { class: "field", "data-field": name }, h("span", {}, label),
    h("input", { name, value, autocomplete: "off", ...extra }), h("em", { class: "fault" }));
}

export function point(name: string, label: string, values: number[] | null, required = true): HTMLElement {
  return h("fieldset", { class: "field", "data-field": name }, h("legend", {}, label),
    ...AXES.map((axis, at) => h("label", {}, h("span", {}, axis),
      h("input", { name: `${name}.${at}`, value: values?.[at] ?? "", inputmode: "decimal", required, autocomplete: "off" }))),
    h("em", { class: "fault" }));
}

export function choice(name: string, label: string, options: [string, string][], chosen = ""): HTMLElement {
  return h("label", { class: "field", "data-field": name }, h("span", {}, label),
    h("select", { name }, ...options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))),
    h("em", { class: "fault" }));
}

export class Said {
  private readonly data: FormData;

  constructor(form: HTMLFormElement) {
    this.data = new FormData(form);
  }

  has(name: string): boolean {
    return this.data.has(name);
  }

  text(name: string): string {
    return String(this.data.get(name) ?? "").trim();
  }

  // A decimal comma is what half of the world's keypads give. What is no number goes to the server, which says so.
  number(name: string): number | string {
    const told = this.text(name).replace(",", ".");
    return told !== "" && Number.isFinite(Number(told)) ? Number(told) : this.text(name);
  }

  point(name: string): (number | string)[] {
    return AXES.map((_, at) => this.number(`${name}.${at}`));
  }
}

// A dialog with a form; `save` answers whether it may close, and throws nothing.
export function editor(
  title: string, content: (HTMLElement | null)[], yes: string, save: (form: HTMLFormElement, summary: HTMLElement) => Promise<boolean>,
): void {
  const summary = h("p", { class: "fault", role: "alert" });
  const form = h("form", {
    submit: (event) => {
      event.preventDefault();
      void save(form as HTMLFormElement, summary).then((done) => { if (done) dialog.close(); });
    },
  },
    h("h2", {}, title), ...content, summary,
    h("div", { class: "row end" },
      h("button", { type: "button", click: () => dialog.close() }, "Cancel"),
      h("button", { class: "primary" }, yes)));
  const dialog = h("dialog", { class: "editor", close: () => dialog.remove() }, form) as HTMLDialogElement;
  document.body.append(dialog);
  dialog.showModal();
}

export function showFaults(form: HTMLFormElement, summary: HTMLElement, problem: Problem): void {
  const told = new Set<string>();
  for (const place of form.querySelectorAll<HTMLElement>("[data-field]")) {
    const name = place.dataset["field"] ?? "";
    const fault = problem.errors?.find((error) => error.field === name);
    const words = place.querySelector(".fault");
    if (words) words.textContent = fault?.message ?? "";
    if (fault) told.add(name);
    place.classList.toggle("at-fault", fault !== undefined);
  }
  const others = (problem.errors ?? []).filter((error) => !told.has(error.field)).map((error) => `${error.field} ${error.message}`);
  summary.textContent = problem.errors?.length ? others.join("; ") : problem.detail;
}

export function millimetres(value: number | null): string {
  return value === null ? "unknown" : `${value.toFixed(1)} mm`;
}

export function shownPoint(value: Vector3): string {
  return value.map((part) => part.toFixed(1)).join(", ");
}
