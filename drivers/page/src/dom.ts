// Elements, built without markup text, so that no label can become code; and a question to the operator.

type Child = Node | string | null;
type Properties = Record<string, string | boolean | number | ((event: Event) => void)>;

export function h(tag: string, properties: Properties = {}, ...children: Child[]): HTMLElement {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "value") (element as HTMLInputElement).value = String(value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== null));
  return element;
}

export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

// Replaces an element's content only where it has changed: the focus and a half-typed word stay.
export function showWhenChanged(element: HTMLElement, key: unknown, content: () => Child[]): void {
  const text = JSON.stringify(key);
  if (element.dataset["key"] === text) return;
  element.dataset["key"] = text;
  element.replaceChildren(...content().filter((child): child is Node | string => child !== null));
}

export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function confirmWith(text: string, yes: string): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "question", close: () => { resolve(dialog.returnValue === "yes"); dialog.remove(); } },
      h("form", { method: "dialog" }, h("p", {}, text), h("div", { class: "row end" },
        h("button", { value: "no" }, "Cancel"),
        h("button", { value: "yes", class: "primary" }, yes))),
    ) as HTMLDialogElement;
    document.body.append(dialog);
    dialog.showModal();
  });
}
