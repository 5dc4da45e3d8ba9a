// Requests to /api/v1; a refusal becomes a `Refusal` with the server's own words.

import type { Problem } from "./types.js";

const ANSWER_WITHIN_MS = 5000;

export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.mend ? `${problem.detail} (${problem.mend})` : problem.detail);
  }
}

export async function request<T>(method: string, resource: string, body?: unknown, withinMs = ANSWER_WITHIN_MS): Promise<T> {
  const init: RequestInit = { method, signal: AbortSignal.timeout(withinMs) };
  if (body instanceof FormData) init.body = body;
  else if (body !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  const answer = await fetch(`/api/v1${resource}`, init);
  if (!answer.ok) {
    const problem = (await answer.json().catch(() => ({ detail: `HTTP ${answer.status}` }))) as Problem;
    throw new Refusal(problem);
  }
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

export function asProblem(error: unknown): Problem {
  return error instanceof Refusal ? { ...error.problem, detail: error.message } : { detail: String(error) };
}
