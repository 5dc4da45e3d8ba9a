// Built from src/history.ts, sha256 3e1568a90eff99a5191b9a6938bb4c1a304f61e3fe716498066f5d559b9f973b; change that, then run: make page
// Undo and redo: one step of the case, whoever made it; the server's words say what was taken back.
import { asProblem, request } from "./api.js";
import { byId, setText } from "./dom.js";
export class HistoryButtons {
    changed;
    constructor(changed) {
        this.changed = changed;
        for (const way of ["undo", "redo"])
            byId(way).addEventListener("click", () => void this.go(way));
    }
    async go(way) {
        const said = byId("history-said");
        try {
            const done = await request("POST", `/${way}`);
            setText(said, `${way}: ${done.what}`);
        }
        catch (error) {
            setText(said, asProblem(error).detail);
        }
        this.changed();
    }
}
