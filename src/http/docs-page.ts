/** The parts of an OpenAPI document that the page shows. */
interface Operation {
  summary?: string
  parameters?: { name: string; in: string; required?: boolean; schema?: unknown }[]
  requestBody?: { content?: Record<string, { schema?: unknown }> }
  responses?: Record<string, { content?: Record<string, { schema?: unknown }> }>
}

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.5 ui-monospace, monospace; }
pre { background: #8881; padding: .75rem; overflow-x: auto; border-radius: .4rem; }
summary { cursor: pointer; padding: .5rem 0; border-top: 1px solid #8884; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } a { color: #8bf; } }
`

/**
 * Renders an OpenAPI document as a page that needs no scripts: each endpoint with what it takes and what it answers.
 */
export function renderDocs(document: { info: { title: string; version: string }; paths?: object }): string {
  const { title, version } = document.info
  const operations = Object.entries(document.paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, Operation>).map(([method, operation]) =>
      renderOperation(method.toUpperCase(), path, operation),
    ),
  )
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)} API</title>
<style>${STYLE}</style>
<h1>${escapeHtml(title)} API <small>${escapeHtml(version)}</small></h1>
<p>Successes carry <code>"status":"success"</code>; failures <code>{"status":"error","code":"…","message":"…"}</code>.
For programs: <a href="openapi.json">openapi.json</a>.</p>
${operations.join('\n')}
</html>
`
}

function renderOperation(method: string, path: string, operation: Operation): string {
  const parameters = (operation.parameters ?? []).map((parameter) => [
    `${parameter.name} (${parameter.in}${parameter.required ? '' : ', optional'})`,
    parameter.schema,
  ])
  const bodies = Object.entries(operation.requestBody?.content ?? {}).map(([type, { schema }]) => [
    `body, ${type}`,
    schema,
  ])
  const answers = Object.entries(operation.responses ?? {}).map(([status, { content }]) => [
    `answer ${status}`,
    Object.values(content ?? {})[0]?.schema,
  ])
  const sections = [...parameters, ...bodies, ...answers].map(
    ([heading, schema]) =>
      `<h4>${escapeHtml(String(heading))}</h4>${schema === undefined ? '' : `<pre>${escapeHtml(JSON.stringify(schema, null, 2))}</pre>`}`,
  )
  return `<details><summary><code>${method} ${escapeHtml(path)}</code> ${escapeHtml(operation.summary ?? '')}</summary>${sections.join('')}</details>`
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? character)
}
