// Whether the pictures agree with their geometry, and registration of the volume to them.

import { asProblem, request } from "./api.js";
import { byId, confirmWith, h, showWhenChanged } from "./dom.js";
import type { ImageCheck, LiveState, Registered, RegistrationState } from "./types.js";

const ANSWER_WITHIN_MS = 60000;
const LEVELS: Record<ImageCheck["state"], string> = {
  agrees: "good", warning: "caution", contradicts: "bad", cannot_tell: "none", unchecked: "none",
};
const SIGNS: Record<ImageCheck["state"], string> = {
  agrees: "✓ verified", warning: "▲ off", contradicts: "✕ contradicts", cannot_tell: "? not verified", unchecked: "? not verified",
};

export class RegistrationPanel {
  private said = "";
  private running = false;
  private state: RegistrationState | null = null;

  constructor(private readonly changed: () => void) {}

  // The pictures' own word, with every frame.
  tell(live: LiveState): void {
    const checks = Object.entries(live.inputs).map(([device, input]) => ({
      device, words: words(input.check), state: input.check.state, depths: input.instruments.map((one) => one.text),
    }));
    showWhenChanged(byId("checks"), checks, () => checks.map((one) =>
      h("li", { "data-check": one.state },
        h("span", { class: `tag ${LEVELS[one.state]}` }, SIGNS[one.state]),
        h("div", { class: "what" },
          h("span", {}, one.words ? `${one.device}: ${one.words}` : one.device),
          ...one.depths.map((text) => h("strong", { class: "depth" }, text))))));
  }

  show(state: RegistrationState): void {
    this.state = state;
    this.draw();
  }

  private draw(): void {
    const state = this.state;
    if (!state) return;
    showWhenChanged(byId("registration"), [state, this.said, this.running], () => [
      state.offered ? h("p", { class: "note bad" }, "▲ The patient lies elsewhere than told. Register, or take a new CBCT.") : null,
      h("p", {}, state.registered
        ? `Registered from ${state.inputs.join(", ")}, ${state.residual_px === null ? "" : `${state.residual_px.toFixed(1)} px left`}`
        : "The geometry is taken as it is told."),
      h("div", { class: "row" },
        h("button", {
          id: "register", disabled: this.running || state.running, class: state.offered ? "primary" : "",
          click: () => void this.register(),
        }, this.running || state.running ? "Registering …" : "Register"),
        state.registered ? h("button", { id: "drop-registration", click: () => void this.drop() }, "Take back") : null),
      this.said ? h("p", { role: "status", id: "registration-said" }, this.said) : null,
    ]);
  }

  private async register(): Promise<void> {
    this.running = true;
    this.said = "";
    this.draw();
    try {
      const answer = await request<Registered>("POST", "/registration", { other_views_s: 60 }, ANSWER_WITHIN_MS);
      this.said = answer.accepted ? `✓ ${answer.reason}` : `✕ Not registered: ${answer.reason}`;
    } catch (error) {
      this.said = `✕ ${asProblem(error).detail}`;
    } finally {
      this.running = false;
      this.draw();
      this.changed();
    }
  }

  private async drop(): Promise<void> {
    if (!(await confirmWith("Take the registration back? Paths are then drawn where the geometry tells.", "Take back"))) return;
    this.said = "";
    await request("DELETE", "/registration").catch((error: unknown) => { this.said = `✕ ${asProblem(error).detail}`; });
    this.changed();
  }
}

function words(check: ImageCheck): string {
  const parts: string[] = [];
  if (check.residual_mm !== null && check.residual_px !== null) {
    parts.push(`${check.residual_mm.toFixed(1)} mm (${check.residual_px.toFixed(1)} px) off`);
  }
  if (check.breathing_mm !== null) parts.push(`breathing ${check.breathing_mm.toFixed(1)} mm`);
  if (check.reason) parts.push(check.reason);
  return parts.join(", ");
}
