// Built from src/alerts.ts, sha256 910e870963f60c402a84637fafacd8b6531847e9762093eba550df57a5b3e0b6; change that, then run: make page
// Latched alerts over the pictures: priority as IEC 60601-1-8 marks it, words, and who has seen them.
import { asProblem, request } from "./api.js";
import { byId, h, setText, showWhenChanged } from "./dom.js";
import { Said, editor, field, showFaults } from "./forms.js";
const SIGNS = {
    high: ["bad", "!!!"], medium: ["caution", "!!"], low: ["caution", "!"], none: ["none", "–"],
};
const NAME = "guidance-operator";
export class AlertBar {
    said = "";
    tell(live) {
        // Millimetres change with every frame. The buttons must not: one that is replaced under the finger is never pressed.
        const key = live.alerts.map((alert) => [alert.id, alert.priority, alert.present, alert.acknowledged_by]);
        showWhenChanged(byId("alerts"), [key, this.said], () => [
            ...live.alerts.map((alert) => this.row(alert)),
            this.said ? h("p", { class: "alert bad", id: "alert-said" }, this.said) : null,
        ]);
        for (const alert of live.alerts) {
            const words = document.querySelector(`[data-alert="${CSS.escape(alert.id)}"] .what`);
            if (words)
                setText(words, alert.present ? alert.text : `${alert.text} (no longer)`);
        }
    }
    row(alert) {
        const [level, sign] = SIGNS[alert.priority];
        const seen = alert.acknowledged_by !== null;
        return h("div", { class: `alert ${seen || !alert.present ? "seen" : level}`, "data-alert": alert.id, "data-priority": alert.priority }, h("strong", { class: "sign", "aria-label": `${alert.priority} priority` }, sign), h("span", { class: "what" }), seen
            ? h("span", { class: "by" }, `seen by ${alert.acknowledged_by ?? ""}`)
            : h("button", { class: "acknowledge", click: () => this.acknowledge(alert) }, "Acknowledge"));
    }
    // The first time it asks who; whoever sits at this browser is then known until it is closed.
    acknowledge(alert) {
        const known = sessionStorage.getItem(NAME);
        if (known) {
            void this.send(alert, known).catch((error) => { this.said = asProblem(error).detail; });
            return;
        }
        editor(`Acknowledge: ${alert.text}`, [field("by", "Your name", "", { maxlength: "64", required: "" })], "Acknowledge", async (form, summary) => {
            const by = new Said(form).text("by");
            try {
                await this.send(alert, by);
            }
            catch (error) {
                showFaults(form, summary, asProblem(error));
                return false;
            }
            sessionStorage.setItem(NAME, by);
            return true;
        });
    }
    async send(alert, by) {
        this.said = "";
        await request("POST", `/alerts/${encodeURIComponent(alert.id)}/acknowledge`, { by });
    }
}
