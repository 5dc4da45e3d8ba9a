// The volumes, which one counts, what the server asks about them, and whether the stream shares their frame.

import { request } from "./api.js";
import { byId, confirmWith, h, showWhenChanged } from "./dom.js";
import type { Case, Status, Volume } from "./types.js";

const KINDS = { real: "Real CT", procedural: "Procedural", unknown: "Volume" };

export class VolumePanel {
  constructor(private readonly changed: () => void) {
    byId("new-case").addEventListener("click", () => void this.newCase());
  }

  show(held: Case, volumes: Volume[], status: Status): void {
    showWhenChanged(byId("question"), held.question, () => this.question(held));
    showWhenChanged(byId("volumes"), volumes, () =>
      volumes.length
        ? volumes.map((volume) => this.row(volume))
        : [h("li", { class: "empty" }, "No volume has come yet. Send a CBCT by DICOM.")]);
    showWhenChanged(byId("shared-frame"), [held.active_volume_id, held.shared_frame_confirmed], () => this.sharedFrame(held));
    const shown = status.volume;
    showWhenChanged(byId("volume-shown"), shown, () =>
      shown
        ? [h("span", { class: `tag ${shown.kind === "real" ? "good" : "none"}` }, KINDS[shown.kind]), h("strong", {}, shown.name)]
        : [h("span", { class: "tag none" }, "No volume")]);
  }

  private question(held: Case): HTMLElement[] {
    const asked = held.question;
    if (!asked) return [];
    return [
      h("p", {}, asked.text),
      h("div", { class: "row" },
        h("button", { click: () => void this.choose(asked.volume_id) }, "Use new volume"),
        held.active_volume_id === null ? null
          : h("button", { click: () => void this.choose(held.active_volume_id ?? "") }, "Keep present")),
    ];
  }

  private row(volume: Volume): HTMLElement {
    const size = volume.shape_kji ? volume.shape_kji.join(" × ") : `${volume.instance_count} instances`;
    const levels = { ready: "good", receiving: "none", refused: "bad" };
    const signs = { ready: "✓ ready", receiving: "… receiving", refused: "✕ refused" };
    return h("li", { class: volume.active ? "volume active" : "volume", "data-volume": volume.id },
      h("div", { class: "what" },
        h("strong", {}, volume.description || volume.id),
        volume.patient_id ? h("span", {}, `patient ${volume.patient_id}`) : null,
        h("span", {}, size),
        volume.same_patient === false ? h("span", { class: "note bad" }, "✕ another patient") : null,
        ...volume.findings.map((found) =>
          h("span", { class: `note ${found.severity === "error" ? "bad" : "caution"}` },
            `${found.severity === "error" ? "✕" : "▲"} ${found.message}`))),
      h("span", { class: `tag ${levels[volume.state]}` }, volume.active ? "● in use" : signs[volume.state]),
      volume.state === "ready" && !volume.active
        ? h("div", { class: "actions" },
          h("button", { click: () => void this.use(volume), "aria-label": `use ${volume.description || volume.id}` }, "Use"))
        : null);
  }

  private sharedFrame(held: Case): HTMLElement[] {
    if (held.active_volume_id === null) return [];
    return held.shared_frame_confirmed
      ? [h("p", {}, "✓ You confirmed that stream and volume share one frame."),
        h("button", { click: () => void this.put({ shared_frame_confirmed: false }) }, "Take back")]
      : [h("p", {}, "A stream that names no frame of reference is used only after you confirm that it shares the volume's."),
        h("button", { click: () => void this.confirmFrame() }, "Confirm one frame")];
  }

  private async confirmFrame(): Promise<void> {
    const text = "Do stream and volume share one frame of reference? Say yes only if the CBCT was made on this C-arm and " +
      "the patient has not moved since.";
    if (await confirmWith(text, "Yes, they share one frame")) await this.put({ shared_frame_confirmed: true });
  }

  private async use(volume: Volume): Promise<void> {
    const text = volume.same_patient === false
      ? `This volume is of ANOTHER patient (${volume.patient_id || "no patient id"}). Use it all the same?`
      : "Use this volume from now on? It begins a new registration.";
    if (await confirmWith(text, "Use it")) await this.choose(volume.id);
  }

  private choose(id: string): Promise<void> {
    return this.put({ active_volume_id: id });
  }

  private async put(fields: Record<string, unknown>): Promise<void> {
    await request("PUT", "/case", fields).catch((error: unknown) => alert(String(error)));
    this.changed();
  }

  private async newCase(): Promise<void> {
    if (!(await confirmWith("Begin a new case? All paths are taken away and no volume is in use until you choose one.", "New case"))) return;
    await request("DELETE", "/case").catch((error: unknown) => alert(String(error)));
    this.changed();
  }
}
