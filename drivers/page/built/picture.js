// Built from src/picture.ts, sha256 2787b0f487457f06fb01622ed7272ec4a6d85048529bb016618b30db26b4f238; change that, then run: make page
// One input: its live picture, the overlay that came in the same message, and in words what can be trusted.
import { h, setText } from "./dom.js";
const OLD_AFTER_MS = 1000;
// Every state has a sign and a word besides its colour.
const INPUT_WORDS = {
    connected: ["○", "Connected"],
    streaming: ["●", "Live"],
    valid: ["●", "Live"],
    held: ["❚❚", "Held"],
    silent: ["■", "Silent"],
    frozen_clock: ["●", "Live, sender's clock stands"],
};
const GEOMETRY_WORDS = {
    trusted: ["✓", "Geometry trusted"],
    degraded: ["▲", "Geometry degraded"],
    withheld: ["✕", "Paths withheld"],
    absent: ["–", "No geometry"],
};
export class PictureView {
    device;
    element;
    canvas = h("canvas", { "aria-label": "live picture" });
    banner = h("div", { class: "banner", role: "status", "aria-live": "assertive" });
    input = h("span", { class: "tag" });
    geometry = h("span", { class: "tag" });
    reason = h("span", { class: "reason" });
    facts = h("span", { class: "facts" });
    bitmap = null;
    header = null;
    state = null;
    stateAt = 0;
    pictureAt = 0;
    vectorsShown = false;
    constructor(device) {
        this.device = device;
        this.element = h("section", { class: "view", "aria-label": `input ${device}`, "data-device": device }, h("div", { class: "stage" }, this.canvas), this.banner, h("footer", {}, h("strong", {}, device), this.input, this.geometry, this.reason, this.facts));
        new ResizeObserver(() => this.draw()).observe(this.canvas);
    }
    async show(header, jpeg) {
        const bitmap = await createImageBitmap(jpeg);
        this.bitmap?.close();
        this.bitmap = bitmap;
        this.header = header;
        this.pictureAt = performance.now();
        this.draw();
    }
    tell(state) {
        this.state = state;
        this.stateAt = performance.now();
        if (this.vectorsShown !== this.mayShowPaths())
            this.draw();
        this.words();
    }
    // What is said about age goes on growing between messages.
    words() {
        const state = this.state;
        if (!state)
            return;
        const ageMs = state.age_ms === null ? null : state.age_ms + performance.now() - this.stateAt;
        const live = state.state === "streaming" || state.state === "valid" || state.state === "frozen_clock";
        const pictureMs = performance.now() - this.pictureAt;
        const late = live && this.header !== null && pictureMs > OLD_AFTER_MS;
        tag(this.input, INPUT_WORDS[state.state], live ? "good" : "caution");
        const levels = { trusted: "good", degraded: "caution", withheld: "bad", absent: "none" };
        tag(this.geometry, GEOMETRY_WORDS[state.geometry_state], levels[state.geometry_state]);
        // What withholds is said large, in the banner.
        setText(this.reason, state.geometry_state === "trusted" ? state.reason : "");
        setText(this.facts, [
            state.frame_number === null ? "" : `frame ${state.frame_number}`,
            ageMs === null ? "" : `age ${age(ageMs)}`,
        ].filter(Boolean).join("  ·  "));
        const lines = [];
        let level = "";
        if (state.state === "held")
            [level, lines[0]] = ["caution", `❚❚ HELD – picture is ${old(ageMs)} old, not live`];
        else if (state.state === "silent")
            [level, lines[0]] = ["caution", `■ NO SIGNAL – last picture is ${old(ageMs)} old`];
        else if (state.state === "connected")
            [level, lines[0]] = ["none", "○ CONNECTED – no picture yet"];
        else if (late)
            [level, lines[0]] = ["caution", `❚❚ PICTURE LATE – ${age(pictureMs)} old`];
        if (state.geometry_state === "withheld") {
            level = "bad";
            lines.push(`✕ PATHS WITHHELD – ${state.reason || "no reason given"}`);
        }
        else if (state.geometry_state === "degraded") {
            level ||= "caution";
            lines.push(`▲ GEOMETRY DEGRADED – ${state.reason || "no reason given"}`);
        }
        else if (state.geometry_state === "absent" && this.header) {
            level ||= "none";
            lines.push(`– NO GEOMETRY – ${state.reason || "the picture alone is shown"}`);
        }
        this.banner.className = `banner ${level}`;
        const text = lines.join("\n");
        setText(this.banner, text);
        this.element.classList.toggle("stale", late || state.state === "silent");
    }
    mayShowPaths() {
        const said = this.state?.geometry_state ?? this.header?.geometry_state;
        return said === "trusted" || said === "degraded";
    }
    draw() {
        const context = this.canvas.getContext("2d");
        const ratio = window.devicePixelRatio;
        const width = Math.round(this.canvas.clientWidth * ratio);
        const height = Math.round(this.canvas.clientHeight * ratio);
        if (!context || !width || !height)
            return;
        if (this.canvas.width !== width || this.canvas.height !== height)
            [this.canvas.width, this.canvas.height] = [width, height];
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.fillStyle = "#000";
        context.fillRect(0, 0, width, height);
        if (!this.bitmap || !this.header)
            return;
        const scale = Math.min(width / this.header.width, height / this.header.height);
        const left = (width - scale * this.header.width) / 2;
        const top = (height - scale * this.header.height) / 2;
        context.imageSmoothingQuality = "high";
        context.drawImage(this.bitmap, left, top, scale * this.header.width, scale * this.header.height);
        // Pixel centres are at whole numbers: the picture begins half a pixel before (0, 0).
        context.setTransform(scale, 0, 0, scale, left + scale / 2, top + scale / 2);
        this.vectorsShown = this.mayShowPaths();
        // A newer state may have taken the trust back before a newer picture came: then nothing is drawn. Words about the
        // frame's state are not drawn either, for "LIVE" would stay on a picture that stopped; the page says them anew.
        // Cement was seen in this very picture: it stays on it without any geometry.
        const drawn = this.header.overlay.filter((vector) => vector.cement
            || (this.vectorsShown && (vector.path_id || vector.zone_id || vector.text.length <= 1)));
        for (const vector of drawn)
            drawVector(context, vector, scale, ratio);
        this.canvas.dataset["sequence"] = String(this.header.sequence);
        this.canvas.dataset["paths"] = this.vectorsShown ? "shown" : "hidden";
    }
}
function drawVector(context, vector, scale, ratio) {
    const points = vector.points;
    if (vector.kind === "text") {
        context.font = `600 ${Math.max(vector.size_px, (12 * ratio) / scale)}px system-ui, sans-serif`;
        context.lineWidth = (3 * ratio) / scale;
        context.lineJoin = "round";
        context.strokeStyle = "rgba(0, 0, 0, 0.8)";
        // No wider than the server reckoned with when it put the labels beside each other.
        context.strokeText(vector.text, points[0] ?? 0, points[1] ?? 0, vector.width_px);
        context.fillStyle = vector.color;
        context.fillText(vector.text, points[0] ?? 0, points[1] ?? 0, vector.width_px);
        return;
    }
    context.beginPath();
    for (let at = 0; at + 1 < points.length; at += 2)
        context.lineTo(points[at] ?? 0, points[at + 1] ?? 0);
    if (vector.closed)
        context.closePath();
    context.lineWidth = Math.max(vector.width_px, (1.25 * ratio) / scale);
    context.lineJoin = "round";
    context.lineCap = "round";
    context.strokeStyle = vector.color;
    context.stroke();
}
function tag(element, [sign, word], level) {
    element.className = `tag ${level}`;
    setText(element, `${sign} ${word}`);
}
function age(ms) {
    return ms < 1000 ? `${Math.round(ms)} ms` : ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}
function old(ms) {
    return ms === null ? "of unknown age, perhaps very" : age(ms);
}
