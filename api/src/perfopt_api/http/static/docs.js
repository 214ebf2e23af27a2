// Renders /openapi.json: every operation with its parameters, bodies, responses and a form to try it.
"use strict";

const METHODS = ["get", "put", "post", "delete", "patch"];

/** Makes an element; children are elements or text, never markup. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

class Page {
  constructor(api) {
    this.api = api;
  }

  resolve(schema) {
    if (!schema || !schema.$ref) return schema || {};
    return schema.$ref.split("/").slice(1).reduce((at, key) => at[key], this.api);
  }

  typeName(schema) {
    if (schema.$ref) return schema.$ref.split("/").pop();
    const options = schema.oneOf || schema.anyOf;
    if (options) return options.map((option) => this.typeName(option)).join(" | ");
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.type === "array") return `[${this.typeName(schema.items || {})}]`;
    return [schema.type].flat().filter(Boolean).join(" | ") || "any";
  }

  constraints(schema) {
    const named = ["enum", "default", "format", "minimum", "maximum", "minLength", "maxLength", "pattern"];
    return named.filter((key) => schema[key] !== undefined && schema[key] !== null)
      .map((key) => `${key}: ${[schema[key]].flat().map((v) => (v === "" ? '""' : v)).join(", ")}`).join("; ");
  }

  /** Returns the structs below a schema: its own, its items', its options' and its values'. */
  structs(schema) {
    const found = this.resolve(schema);
    if (found.properties) return [[this.typeName(schema), found]];
    const below = [found.items, found.additionalProperties, ...(found.oneOf || found.anyOf || [])];
    return below.filter((part) => part && typeof part === "object").flatMap((part) => this.structs(part));
  }

  schema(schema, depth = 0) {
    return el("div", { class: "nested" }, ...this.structs(schema).map(([name, struct]) => {
      const required = new Set(struct.required || []);
      const rows = Object.entries(struct.properties).map(([field, type]) => this.field(field, type, required.has(field), depth));
      return el("details", depth < 1 ? { open: "" } : {}, el("summary", {}, name),
        el("p", {}, (struct.description || "").split("\n\n")[0]), el("table", {}, ...rows));
    }));
  }

  field(name, type, required, depth) {
    const resolved = this.resolve(type);
    const deeper = depth < 4 && this.structs(type).length ? this.schema(type, depth + 1) : null;
    return el("tr", {},
      el("td", {}, el("code", {}, name), required ? el("span", { class: "required", title: "required" }, " *") : null),
      el("td", {}, el("span", { class: "type" }, this.typeName(type)), " ", this.constraints({ ...resolved, ...type }),
        el("p", {}, type.description || ""), deeper));
  }

  parameters(operation) {
    if (!operation.parameters?.length) return null;
    const rows = operation.parameters.map((parameter) => el("tr", {},
      el("td", {}, el("code", {}, parameter.name), parameter.required ? el("span", { class: "required" }, " *") : null,
        el("p", { class: "type" }, parameter.in)),
      el("td", {}, this.typeName(parameter.schema), " ", this.constraints(this.plain(parameter.schema)), el("p", {}, parameter.description || "")),
      el("td", {}, this.input(parameter))));
    return el("section", {}, el("h4", {}, "Parameters"), el("table", {}, ...rows));
  }

  /** Returns the schema of a parameter's value, without the option of leaving it out. */
  plain(schema) {
    const options = (schema.oneOf || schema.anyOf || [schema]).filter((option) => option.type !== "null");
    return this.resolve(options[0]);
  }

  input(parameter) {
    const attributes = { "data-in": parameter.in, "data-name": parameter.name, "aria-label": parameter.name };
    const schema = this.plain(parameter.schema);
    const values = schema.enum || (schema.const === undefined ? null : [schema.const]);
    if (!values) return el("input", { ...attributes, placeholder: String(schema.default ?? parameter.schema.default ?? "") });
    return el("select", attributes, ...["", ...values].map((value) => el("option", { value: value ?? "" }, String(value ?? ""))));
  }

  body(operation) {
    const content = operation.requestBody?.content?.["application/json"];
    if (!content) return null;
    const text = el("textarea", { "data-body": "", "aria-label": "Request body", spellcheck: "false" });
    const examples = Object.values(content.examples || {});
    const show = (index) => { text.value = JSON.stringify(examples[index]?.value ?? {}, null, 2); };
    const choose = el("select", { "aria-label": "Example" }, ...examples.map((example, index) => el("option", { value: index }, example.summary)));
    choose.addEventListener("change", () => show(choose.value));
    show(0);
    return el("section", {}, el("h4", {}, "Request body"), this.schema(content.schema), choose, text);
  }

  responses(operation) {
    const items = Object.entries(operation.responses).map(([status, response]) => {
      const [media, content] = Object.entries(response.content || {})[0] || [];
      const headers = Object.entries(response.headers || {}).map(([name, header]) => el("p", {}, el("code", {}, name), ` ${header.description || ""}`));
      return el("details", {}, el("summary", {}, el("code", {}, status), ` ${response.description}`),
        ...headers, media ? el("p", { class: "type" }, media) : null, content ? this.schema(content.schema) : null);
    });
    return el("section", {}, el("h4", {}, "Responses"), ...items);
  }

  operation(path, method, operation) {
    const result = el("div", { "aria-live": "polite" });
    const send = el("button", { type: "submit" }, "Send");
    const form = el("form", {}, this.parameters(operation), this.body(operation), send, result);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(form, path, method, result);
    });
    return el("details", { class: "operation", id: operation.operationId },
      el("summary", {}, el("span", { class: `method ${method}` }, method), el("code", {}, path), ` ${operation.summary || ""}`),
      el("div", {}, el("p", {}, operation.description || ""), form, this.responses(operation)));
  }

  render() {
    document.title = `${this.api.info.title} API ${this.api.info.version}`;
    document.getElementById("title").textContent = document.title;
    document.getElementById("description").textContent = this.api.info.description || "";
    const groups = new Map((this.api.tags || []).map((tag) => [tag.name, []]));
    for (const [path, item] of Object.entries(this.api.paths)) {
      for (const method of METHODS.filter((name) => item[name])) {
        const tag = item[method].tags?.[0] || "Other";
        groups.set(tag, [...(groups.get(tag) || []), [path, method, item[method]]]);
      }
    }
    const operations = document.getElementById("operations");
    const contents = document.getElementById("contents");
    operations.replaceChildren();
    for (const [tag, members] of groups) {
      operations.append(el("h2", {}, tag), ...members.map((member) => this.operation(...member)));
      contents.append(el("h2", {}, tag), ...members.map(([, , member]) => el("a", { href: `#${member.operationId}` }, member.summary || member.operationId)));
    }
    openTarget();
  }
}

async function attempt(form, path, method, result) {
  const headers = {};
  const query = new URLSearchParams();
  let target = path;
  for (const input of form.querySelectorAll("[data-name]")) {
    const { name } = input.dataset;
    if (input.dataset.in === "path") target = target.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (input.value && input.dataset.in === "query") query.set(name, input.value);
    else if (input.value && input.dataset.in === "header") headers[name] = input.value;
  }
  const token = document.getElementById("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  const body = form.querySelector("[data-body]")?.value;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const url = target + (query.size ? `?${query}` : "");
  result.replaceChildren("…");
  try {
    const response = await fetch(url, { method: method.toUpperCase(), headers, body });
    const text = await response.text();
    const lines = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    result.replaceChildren(
      el("p", response.ok ? {} : { class: "failed" }, `${response.status} ${response.statusText} ${method.toUpperCase()} ${url}`),
      el("pre", {}, lines), el("pre", {}, pretty(text)));
  } catch (error) {
    result.replaceChildren(el("p", { class: "failed" }, `No answer: ${error.message}`));
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.tagName !== "DETAILS") return;
  target.open = true;
  target.scrollIntoView();
}

window.addEventListener("hashchange", openTarget);
fetch("/openapi.json")
  .then((response) => response.json())
  .then((api) => new Page(api).render())
  .catch((error) => document.getElementById("operations").replaceChildren(
    el("p", { class: "failed" }, `The description of the API could not be loaded: ${error.message}`)));
