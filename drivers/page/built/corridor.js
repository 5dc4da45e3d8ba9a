// Built from src/corridor.ts, sha256 16381d16afe07d98605094f3dbcecbcc2d768ba3f72e4b00d013d98e1da18594; change that, then run: make page
// Asks the server for the best straight corridor through bone, and makes a path of it.
import { asProblem, request } from "./api.js";
import { byId, h } from "./dom.js";
import { Said, choice, editor, field, millimetres, shownPoint, showFaults } from "./forms.js";
const SEARCH_WITHIN_MS = 300_000;
const LEVELS = [["s1", "Trans-sacral S1"], ["s2", "Trans-sacral S2"], ["iliosacral", "Iliosacral"], ["free", "Free"]];
const SIDES = [["", "Either"], ["left", "Left"], ["right", "Right"]];
export class CorridorSearch {
    changed;
    constructor(changed) {
        this.changed = changed;
        byId("find-corridor").addEventListener("click", () => this.open());
    }
    open() {
        const found = h("div", { id: "corridor", role: "status" });
        editor("Find a corridor", [
            h("div", { class: "row" }, choice("level", "Level", LEVELS), choice("side", "Side of the entry, iliosacral", SIDES)),
            h("div", { class: "row" }, field("diameter_mm", "Diameter, mm", "7.3", { inputmode: "decimal", required: "" }), field("margin_mm", "Margin, mm", "1", { inputmode: "decimal", required: "" })),
            found,
        ], "Search", async (form, summary) => {
            await this.search(form, summary, found);
            return false;
        });
    }
    async search(form, summary, found) {
        const said = new Said(form);
        const body = {
            level: said.text("level"), diameter_mm: said.number("diameter_mm"), margin_mm: said.number("margin_mm"),
            ...(said.text("level") === "iliosacral" && said.text("side") ? { side: said.text("side") } : {}),
        };
        showFaults(form, summary, { detail: "" });
        found.replaceChildren(h("p", { class: "note" }, "… searching, this takes seconds"));
        try {
            const corridor = await request("POST", "/corridors", body, SEARCH_WITHIN_MS);
            found.replaceChildren(...this.answer(corridor, form));
        }
        catch (error) {
            found.replaceChildren();
            showFaults(form, summary, asProblem(error));
        }
    }
    answer(corridor, form) {
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
                    click: () => void request("POST", "/paths", body).then(() => { form.closest("dialog")?.close(); this.changed(); }, (error) => alert(String(error))),
                }, "Make it a path"));
            }
        }
        return parts;
    }
}
