// Undo and redo: one step of the case, whoever made it; the server's words say what was taken back.

import { asProblem, request } from "./api.js";
import { byId, setText } from "./dom.js";

export class HistoryButtons {
  constructor(private readonly changed: () => void) {
    for (const way of ["undo", "redo"]) byId(way).addEventListener("click", () => void this.go(way));
  }

  private async go(way: string): Promise<void> {
    const said = byId("history-said");
    try {
      const done = await request<{ what: string }>("POST", `/${way}`);
      setText(said, `${way}: ${done.what}`);
    } catch (error) {
      setText(said, asProblem(error).detail);
    }
    this.changed();
  }
}
