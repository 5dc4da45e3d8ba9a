// Built from src/registration.ts, sha256 cb24cbe3ee75c9cb8ce638cb3b69e7cfcf781e6d480cf1349fecce31f267f07a; change that, then run: make page
// Whether the pictures agree with their geometry, and registration of the volume to them.
import { asProblem, request } from "./api.js";
import { byId, confirmWith, h, showWhenChanged } from "./dom.js";
const ANSWER_WITHIN_MS = 60000;
const LEVELS = {
    agrees: "good", warning: "caution", contradicts: "bad", cannot_tell: "none", unchecked: "none",
};
const SIGNS = {
    agrees: "✓ verified", warning: "▲ off", contradicts: "✕ contradicts", cannot_tell: "? not verified", unchecked: "? not verified",
};
export class RegistrationPanel {
    changed;
    said = "";
    running = false;
    state = null;
    constructor(changed) {
        this.changed = changed;
    }
    // The pictures' own word, with every frame.
    tell(live) {
        const checks = Object.entries(live.inputs).map(([device, input]) => ({
            device, words: words(input.check), state: input.check.state, depths: input.instruments.map((one) => one.text),
        }));
        showWhenChanged(byId("checks"), checks, () => checks.map((one) => h("li", { "data-check": one.state }, h("span", { class: `tag ${LEVELS[one.state]}` }, SIGNS[one.state]), h("div", { class: "what" }, h("span", {}, one.words ? `${one.device}: ${one.words}` : one.device), ...one.depths.map((text) => h("strong", { class: "depth" }, text))))));
    }
    show(state) {
        this.state = state;
        this.draw();
    }
    draw() {
        const state = this.state;
        if (!state)
            return;
        showWhenChanged(byId("registration"), [state, this.said, this.running], () => [
            state.offered ? h("p", { class: "note bad" }, "▲ The patient lies elsewhere than told. Register, or take a new CBCT.") : null,
            h("p", {}, state.registered
                ? `Registered from ${state.inputs.join(", ")}, ${state.residual_px === null ? "" : `${state.residual_px.toFixed(1)} px left`}`
                : "The geometry is taken as it is told."),
            h("div", { class: "row" }, h("button", {
                id: "register", disabled: this.running || state.running, class: state.offered ? "primary" : "",
                click: () => void this.register(),
            }, this.running || state.running ? "Registering …" : "Register"), state.registered ? h("button", { id: "drop-registration", click: () => void this.drop() }, "Take back") : null),
            this.said ? h("p", { role: "status", id: "registration-said" }, this.said) : null,
        ]);
    }
    async register() {
        this.running = true;
        this.said = "";
        this.draw();
        try {
            const answer = await request("POST", "/registration", { other_views_s: 60 }, ANSWER_WITHIN_MS);
            this.said = answer.accepted ? `✓ ${answer.reason}` : `✕ Not registered: ${answer.reason}`;
        }
        catch (error) {
            this.said = `✕ ${asProblem(error).detail}`;
        }
        finally {
            this.running = false;
            this.draw();
            this.changed();
        }
    }
    async drop() {
        if (!(await confirmWith("Take the registration back? Paths are then drawn where the geometry tells.", "Take back")))
            return;
        this.said = "";
        await request("DELETE", "/registration").catch((error) => { this.said = `✕ ${asProblem(error).detail}`; });
        this.changed();
    }
}
function words(check) {
    const parts = [];
    if (check.residual_mm !== null && check.residual_px !== null) {
        parts.push(`${check.residual_mm.toFixed(1)} mm (${check.residual_px.toFixed(1)} px) off`);
    }
    if (check.breathing_mm !== null)
        parts.push(`breathing ${check.breathing_mm.toFixed(1)} mm`);
    if (check.reason)
        parts.push(check.reason);
    return parts.join(", ");
}
