// Built from src/paths.ts, sha256 50ebdfaf1a1c48912a9fd18ddf975059935b02a969783d48c9c26df12c87d325; change that, then run: make page
// The planned paths: list, make, change, delete.
import { asProblem, request } from "./api.js";
import { byId, confirmWith, h, showWhenChanged } from "./dom.js";
import { Said, editor, field, point, showFaults } from "./forms.js";
export class PathPanel {
    changed;
    paths = [];
    live = { inputs: {} };
    chosenId = "";
    constructor(changed) {
        this.changed = changed;
        byId("new-path").addEventListener("click", () => this.edit(null));
    }
    show(paths) {
        this.paths = paths;
        this.list();
    }
    // The path whose plan is shown: the one that was clicked, else the first.
    chosen() {
        return this.paths.find((path) => path.id === this.chosenId) ?? this.paths[0] ?? null;
    }
    choose(path) {
        this.chosenId = path.id;
        this.list();
        this.changed();
    }
    tell(live) {
        this.live = live;
        this.list();
    }
    list() {
        const places = this.paths.map((path) => this.place(path));
        showWhenChanged(byId("paths"), [this.paths, places, this.chosen()?.id], () => this.paths.length
            ? this.paths.map((path, at) => this.row(path, places[at] ?? ""))
            : [h("li", { class: "empty" }, "No path is planned yet.")]);
    }
    place(path) {
        if (!path.in_active_frame)
            return "planned in another frame of reference, not drawn";
        const inputs = Object.values(this.live.inputs);
        const drawn = inputs.some((input) => input.paths.some((place) => place.id === path.id && place.drawn));
        return inputs.length && !drawn ? "not drawn" : "";
    }
    row(path, place) {
        const length = Math.hypot(...path.entry_lps_mm.map((value, axis) => value - (path.target_lps_mm[axis] ?? 0)));
        const facts = `Ø ${path.diameter_mm.toFixed(1)} mm · depth ${length.toFixed(0)} mm`;
        const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
        swatch.style.background = path.color; // by script, for the page's policy allows no style attributes
        const chosen = this.chosen() === path;
        return h("li", { "data-path": path.id, class: `path${place ? " hidden-path" : ""}${chosen ? " chosen" : ""}` }, swatch, h("div", {
            class: "what", role: "button", tabindex: "0", "aria-pressed": String(chosen),
            click: () => this.choose(path),
            keydown: (event) => { if (event.key === "Enter")
                this.choose(path); },
        }, h("strong", {}, path.label), h("span", {}, facts), path.instrument ? h("span", {}, path.instrument) : null, place ? h("span", { class: "note" }, `– ${place}`) : null), h("div", { class: "actions" }, h("button", { click: () => this.edit(path), "aria-label": `change ${path.label}` }, "Edit"), h("button", { click: () => void this.remove(path), "aria-label": `delete ${path.label}` }, "Delete")));
    }
    async remove(path) {
        if (!(await confirmWith(`Delete path “${path.label}”?`, "Delete")))
            return;
        await request("DELETE", `/paths/${encodeURIComponent(path.id)}`).catch((error) => alert(String(error)));
        this.changed();
    }
    edit(path) {
        editor(path ? `Path ${path.id}` : "New path", [
            field("label", "Label", path?.label ?? "", { maxlength: "64" }),
            point("entry_lps_mm", "Entry, mm (left, posterior, head)", path?.entry_lps_mm ?? null),
            point("target_lps_mm", "Target, mm (left, posterior, head)", path?.target_lps_mm ?? null),
            h("div", { class: "row" }, field("diameter_mm", "Diameter, mm", path?.diameter_mm ?? "", { inputmode: "decimal", required: "" }), path ? field("color", "Colour", path.color, { type: "color" }) : null),
            h("div", { class: "row" }, field("instrument", "Instrument", path?.instrument ?? "", { maxlength: "64" }), field("approach", "Approach", path?.approach ?? "", { maxlength: "64" })),
        ], "Save", (form, summary) => this.save(path, form, summary));
    }
    async save(path, form, summary) {
        const said = new Said(form);
        const body = {
            entry_lps_mm: said.point("entry_lps_mm"),
            target_lps_mm: said.point("target_lps_mm"),
            diameter_mm: said.number("diameter_mm"),
            label: said.text("label") || null,
            instrument: said.text("instrument"),
            approach: said.text("approach"),
        };
        if (said.has("color"))
            body["color"] = said.text("color");
        try {
            if (path)
                await request("PATCH", `/paths/${encodeURIComponent(path.id)}`, body);
            else
                await request("POST", "/paths", body);
        }
        catch (error) {
            showFaults(form, summary, asProblem(error));
            return false;
        }
        this.changed();
        return true;
    }
}
