// Built from src/dom.ts, sha256 8230aad590ea92ce4195add7c67ce299027a7e402aee7afdd1451a69405ffcb8; change that, then run: make page
// Elements, built without markup text, so that no label can become code; and a question to the operator.
export function h(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (typeof value === "function")
            element.addEventListener(name, value);
        else if (name === "value")
            element.value = String(value);
        else if (typeof value === "boolean")
            element.toggleAttribute(name, value);
        else
            element.setAttribute(name, String(value));
    }
    element.append(...children.filter((child) => child !== null));
    return element;
}
export function byId(id) {
    const element = document.getElementById(id);
    if (!element)
        throw new Error(`the page has no #${id}`);
    return element;
}
// Replaces an element's content only where it has changed: the focus and a half-typed word stay.
export function showWhenChanged(element, key, content) {
    const text = JSON.stringify(key);
    if (element.dataset["key"] === text)
        return;
    element.dataset["key"] = text;
    element.replaceChildren(...content().filter((child) => child !== null));
}
export function setText(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}
export function confirmWith(text, yes) {
    return new Promise((resolve) => {
        const dialog = h("dialog", { class: "question", close: () => { resolve(dialog.returnValue === "yes"); dialog.remove(); } }, h("form", { method: "dialog" }, h("p", {}, text), h("div", { class: "row end" }, h("button", { value: "no" }, "Cancel"), h("button", { value: "yes", class: "primary" }, yes))));
        document.body.append(dialog);
        dialog.showModal();
    });
}
