// Asks the server for the best straight corridor through bone, and makes a path of it.

import { asProblem, request } from "./api.js";
import { byId, h } from "./dom.js";
import { Said, choice, editor, field, millimetres, shownPoint, showFaults } from "./forms.js";
import type { Corridor } from "./types.js";

const SEARCH_WITHIN_MS = 300_000;
const LEVELS: [string, string][] = [["s1", "Trans-sacral S1"], ["s2", "Trans-sacral S2"], ["iliosacral", "Iliosacral"], ["free", "Free"]];
const SIDES: [string, string][] = [["", "Either"], ["left", "Left"], ["right", "Right"]];

export class CorridorSearch {
  constructor(private readonly changed: () => void) {
    byId("find-corridor").addEventListener("click", () => this.open());
  }

  private open(): void {
    const found = h("div", { id: "corridor", role: "status" });
    editor("Find a corridor", [
      h("div", { class: "row" }, choice("level", "Level", LEVELS), choice("side", "Side of the entry, iliosacral", SIDES)),
      h("div", { class: "row" },
        field("diameter_mm", "Diameter, mm", "7.3", { inputmode: "decimal", required: "" }),
        field("margin_mm", "Margin, mm", "1", { inputmode: "decimal", required: "" })),
      found,
    ], "Search", async (form, summary) => {
      await this.search(form, summary, found);
      return false;
    });
  }

  private async search(form: HTMLFormElement, summary: HTMLElement, found: HTMLElement): Promise<void> {
    const said = new Said(form);
    const body = {
      level: said.text("level"), diameter_mm: said.number("diameter_mm"), margin_mm: said.number("margin_mm"),
      ...(said.text("level") === "iliosacral" && said.text("side") ? { side: said.text("side") } : {}),
    };
    showFaults(form, summary, { detail: "" });
    found.replaceChildren(h("p", { class: "note" }, "… searching, this takes seconds"));
    try {
      const corridor = await request<Corridor>("POST", "/corridors", body, SEARCH_WITHIN_MS);
      found.replaceChildren(...this.answer(corridor, form));
    } catch (error) {
      found.replaceChildren();
      showFaults(form, summary, asProblem(error));
    }
  }

  private answer(corridor: Corridor, form: HTMLFormElement): HTMLElement[] {
    const entry = corridor.entry_lps_mm;
    const target = corridor.target_lps_mm;
    const parts = [
      h("p", { class: `note ${corridor.exists ? "good" : "bad"}` }, corridor.exists ? "✓ A corridor exists" : "✕ No such corridor"),
      h("p", { class: "note" }, corridor.reason),
      h("p", {}, `Margin ${millimetres(corridor.margin_mm)}, largest diameter ${millimetres(corridor.largest_diameter_mm)}`),
      ...corridor.findings.map((found) => h("p", { class: "note caution" }, `▲ ${found.message}`)),
    ];
    if (entry && target) {
      parts.push(h("p", {}, `${shownPoint(entry)} to ${shownPoint(target)}, ${millimetres(corridor.length_mm)} long`));
      if (corridor.exists) {
        const label = LEVELS.find(([level]) => level === corridor.level)?.[1] ?? corridor.level;
        const body = { entry_lps_mm: entry, target_lps_mm: target, diameter_mm: corridor.diameter_mm, label };
        parts.push(h("button", {
          type: "button", id: "take-corridor",
          click: () => void request("POST", "/paths", body).then(
            () => { form.closest("dialog")?.close(); this.changed(); }, (error: unknown) => alert(String(error))),
        }, "Make it a path"));
      }
    }
    return parts;
  }
}
