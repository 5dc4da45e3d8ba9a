// Cement: start and stop, its clocks and figures, and every zone with what is left to it.

import { asProblem, request } from "./api.js";
import { byId, confirmWith, h, showWhenChanged } from "./dom.js";
import { Said, choice, editor, field, showFaults } from "./forms.js";
import type { Cement, CementBrand, CementSite, CementState, LiveState } from "./types.js";

// Every state has a sign and a word besides its colour.
const STATES: Record<CementState, [string, string]> = {
  idle: ["none", "– Not followed"], tracking: ["good", "● Following"], paused: ["caution", "❚❚ PAUSED"], lost: ["bad", "✕ LOST"],
};
const STATUSES: Record<NonNullable<CementSite["status"]>, [string, string]> = {
  clear: ["good", "✓ clear"], approaching: ["caution", "▲ near"],
  contact_possible: ["bad", "◆ contact?"], contact: ["bad", "✕ CONTACT"],
};
const ADVICE: Record<NonNullable<Cement["advice"]["action"]>, [string, string]> = {
  stop: ["bad", "✕ STOP"], caution: ["caution", "▲ Caution"], clear: ["good", "✓ Clear"],
};
const URGENCY: CementSite["priority"][] = ["high", "medium", "low", "none"];
const NONE = ""; // nobody has chosen: a cement that was not meant would give a volume that is not there

type Row = [string, string, string]; // name, value, why it is not known

export class CementPanel {
  private brands: CementBrand[] = [];
  private state: CementState = "idle";
  private said = "";

  constructor(private readonly changed: () => void) {
    byId("cement-switch").addEventListener("click", () => void (this.state === "idle" ? this.start() : this.stop()));
    void this.load();
  }

  // With every frame.
  tell(live: LiveState): void {
    const cement = live.cement;
    this.state = cement.state;
    showWhenChanged(byId("cement-switch"), [cement.state === "idle"], () => [cement.state === "idle" ? "Start" : "Stop"]);
    const rows = cement.state === "idle" ? [] : figures(cement);
    const [level, words] = STATES[cement.state];
    const flat = cement.dimensions === "2d" && Object.values(cement.inputs).some((input) => input.mm_per_px === null);
    const advice = cement.advice.action === null ? null : ADVICE[cement.advice.action];
    showWhenChanged(byId("cement"), [cement.state, cement.reason, cement.advice, cement.balloon, flat, rows, this.said], () => [
      h("p", { id: "cement-state" }, h("span", { class: `tag ${level}` }, words),
        cement.reason ? h("span", { class: "note" }, ` ${cement.reason}`) : null),
      advice ? h("p", { id: "cement-advice" }, h("span", { class: `tag ${advice[0]}` }, advice[1]), h("strong", {}, ` ${cement.advice.text}`)) : null,
      cement.balloon ? h("p", { class: "note caution" }, "▲ What flows was told to be contrast in a balloon: it is not cement.") : null,
      flat ? h("p", { class: "note caution" }, "▲ 2D only: no geometry, so no distances and no warning of zones.") : null,
      rows.length ? h("table", { class: "figures" }, ...rows.map(([name, value, why]) =>
        h("tr", {}, h("th", {}, name), h("td", why ? { title: why } : {}, value || "unknown",
          !value && why ? h("small", {}, ` ${why}`) : null)))) : null,
      this.said ? h("p", { class: "note bad", role: "alert", id: "cement-said" }, this.said) : null,
    ]);
    this.sites(cement);
  }

  private sites(cement: Cement): void {
    const followed = cement.state === "idle" ? [] : [...cement.sites].sort(byUrgency);
    showWhenChanged(byId("cement-sites"), followed.map((site) => [site.zone_id, site.status, site.priority, site.text]), () =>
      followed.map((site) => {
        const target = site.kind === "target";
        const [level, words] = target ? ["none", "◎ target"] : site.status ? STATUSES[site.status] : ["none", "? not known"];
        return h("li", { "data-site": site.zone_id, "data-priority": site.priority },
          h("span", { class: `tag ${level}` }, words), h("div", { class: "what" }, h(site.priority === "none" ? "span" : "strong", {}, site.text)));
      }));
  }

  private async load(): Promise<void> {
    const listed = await request<{ items: CementBrand[] }>("GET", "/cement/brands").catch(() => ({ items: [] }));
    this.brands = listed.items;
  }

  private async start(): Promise<void> {
    if (!this.brands.length) await this.load();
    this.said = "";
    const brands = this.brands.map((cement): [string, string] => [cement.brand, cement.name]);
    editor("Follow cement: the last live pictures become the reference", [
      choice("brand", "Cement", [[NONE, "– choose, or tell an opacity –"], ...brands], NONE),
      field("opacity_per_mm", "Opacity per mm, from a step wedge (or empty)", "", { inputmode: "decimal" }),
      h("div", { class: "row" },
        field("mixed_s_ago", "Mixed so many seconds ago (or empty)", "", { inputmode: "decimal" }),
        field("temperature_c", "Room, °C", "20", { inputmode: "decimal" })),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "balloon" }),
        h("span", {}, "What flows is contrast in a balloon, no cement")),
    ], "Start", async (form, summary) => {
      const told = new Said(form);
      const body: Record<string, unknown> = {};
      for (const name of ["opacity_per_mm", "mixed_s_ago", "temperature_c"]) {
        if (told.text(name) !== "") body[name] = told.number(name);
      }
      if (told.text("brand") !== NONE) body["brand"] = told.text("brand");
      if (told.has("balloon")) body["balloon"] = true;
      try {
        await request("POST", "/cement/start", body);
      } catch (error) {
        showFaults(form, summary, asProblem(error));
        return false;
      }
      this.changed();
      return true;
    });
  }

  private async stop(): Promise<void> {
    if (!(await confirmWith("Follow cement no longer? Its reference is dropped; alerts stay until they are acknowledged.", "Stop"))) return;
    await request("POST", "/cement/stop").catch((error: unknown) => { this.said = `✕ ${asProblem(error).detail}`; });
    this.changed();
  }
}

function figures(cement: Cement): Row[] {
  const why = (name: string): string => cement.reasons[name] ?? "";
  const areaPx = Object.values(cement.inputs).map((input) => input.area_px).filter((area): area is number => area !== null);
  const area = cement.area_mm2 !== null ? `${cement.area_mm2.toFixed(0)} mm²` : areaPx.length ? `${Math.max(...areaPx).toFixed(0)} px` : "";
  const blind = Math.max(0, ...Object.values(cement.inputs).map((input) => input.blind_share ?? 0));
  const clock = cement.working_time;
  return [
    ["Cement", cement.brand ?? (cement.opacity_per_mm === null ? "" : `${cement.opacity_per_mm} per mm`), ""],
    ["Followed for", clockText(cement.elapsed_s), ""],
    ["Since mixing", cement.mixed_s === null ? "" : clockText(cement.mixed_s), why("mixed_s")],
    ["Working time", clock === null ? "" : clock.left_s === null ? clock.phase === "unknown" ? "" : clock.phase
      : `${clock.phase}, ${clockText(clock.left_s)} left`, clock?.reason ?? "no brand was told"],
    ["Shadow", area, why("area_mm2")],
    ["Volume", volume(cement), why("volume_low_ml") || why("volume_ml")],
    ["Injected", cement.injected_ml === null ? "" : `${cement.injected_ml.toFixed(2)} ml`, why("injected_ml")],
    ["Front", cement.front_speed_mm_s === null ? "" : `${cement.front_speed_mm_s.toFixed(1)} mm/s`, why("front_speed_mm_s")],
    ...optional("Balloon, no cement", cement.balloon_ml),
    ...optional("Outside the plan", cement.outside_ml),
    ...(blind >= 0.01 ? [["Not seen by this view", `${(100 * blind).toFixed(0)} %`, ""] as Row] : []),
  ];
}

function volume(cement: Cement): string {
  const [low, high] = [cement.volume_low_ml, cement.volume_high_ml];
  const range = low !== null && high !== null ? `${low.toFixed(1)} to ${high.toFixed(1)} ml` : "";
  return cement.volume_ml === null ? range : `${cement.volume_ml.toFixed(2)} ml${range ? ` (${range})` : ""}`;
}

function optional(name: string, value: number | null): Row[] {
  return value === null ? [] : [[name, `${value.toFixed(2)} ml`, ""]];
}

function byUrgency(one: CementSite, other: CementSite): number {
  const target = Number(one.kind === "target") - Number(other.kind === "target");
  const urgency = URGENCY.indexOf(one.priority) - URGENCY.indexOf(other.priority);
  return target || urgency || (one.distance_mm ?? Infinity) - (other.distance_mm ?? Infinity) || 0;
}

function clockText(seconds: number | null): string {
  if (seconds === null) return "";
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
