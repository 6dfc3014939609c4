/**
 * A line of the table. What is held to a bound says in its cell whether it reached it; see `held`.
 * @typedef {object} Row
 * @property {string} what
 * @property {string} [iclood]
 * @property {string} [hidden] The same server, with the processor's SHA instructions hidden from it.
 * @property {string} [iclood-before] An earlier version, and the same of it.
 * @property {string} [hidden-before]
 * @property {string} [nginx]
 * @property {string} [rclone]
 * @property {string} [reach] What it should be.
 * @property {boolean} [isReached]
 * @property {boolean} [isRatio] Says more than the others on a machine that does other things as well: these come first.
 */

const COLUMNS = {
  'iclood-before': 'before',
  iclood: 'iClood',
  'hidden-before': 'before, without SHA instructions',
  hidden: 'without SHA instructions',
  nginx: 'nginx',
  rclone: 'rclone',
}

/** @param {readonly Row[]} rows */
export function markdown(rows) {
  const columns = Object.keys(COLUMNS).filter((column) => rows.some((row) => row[column] !== undefined))
  const lines = [...rows.filter(({ isRatio }) => isRatio), ...rows.filter(({ isRatio }) => !isRatio)].map((row) => [
    row.what,
    ...columns.map((column) => row[column] ?? ''),
    row.isReached === undefined ? (row.reach ?? '') : `${row.reach} ${verdict(row.isReached)}`,
  ])
  return [
    ['', ...columns.map((column) => COLUMNS[column]), 'reach'],
    ['---', ...columns.map(() => '---'), '---'],
    ...lines,
  ]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

/** A cell whose figure is held to a bound of its own. */
export function held(text, isReached) {
  return `${text} ${verdict(isReached)}`
}

function verdict(isReached) {
  return isReached ? 'ok' : '**MISS**'
}

/** A line that holds one figure of ours to a bound. @returns {Row} */
export function atMost(what, value, bound, unit, digits = 0) {
  return { what, iclood: `${value.toFixed(digits)} ${unit}`, reach: `≤ ${bound} ${unit}`, isReached: value <= bound }
}

/**
 * Lines that hold one figure of each mode to the same bound: `figures` are by what they are, for each of `modes`.
 * @param {readonly import('./processor.mjs').Mode[]} modes
 * @param {readonly Map<string, number>[]} figures
 * @returns {Row[]}
 */
export function eachAtMost(modes, figures, bounds, unit, digits = 0) {
  return Object.entries(bounds).map(([what, bound]) => {
    const cells = modes.map(({ column }, index) => {
      const value = figures[index].get(what)
      return [column, held(`${value.toFixed(digits)} ${unit}`, value <= bound)]
    })
    return { what, ...Object.fromEntries(cells), reach: `≤ ${bound} ${unit}` }
  })
}

/** The middle one of `values`; of two in the middle the lower. */
export function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)]
}
