/**
 * A line of the table.
 * @typedef {object} Row
 * @property {string} what
 * @property {string} iclood
 * @property {string} [nginx]
 * @property {string} [rclone]
 * @property {string} [reach] What it should be.
 * @property {boolean} [isReached]
 */

/** @param {readonly Row[]} rows */
export function markdown(rows) {
  const lines = rows.map(({ what, iclood, nginx = '', rclone = '', reach = '', isReached }) => [
    what,
    iclood,
    nginx,
    rclone,
    isReached === undefined ? reach : `${reach} ${isReached ? 'ok' : '**MISS**'}`,
  ])
  return [['', 'iClood', 'nginx', 'rclone', 'reach'], ['---', '---', '---', '---', '---'], ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n')
}

/** A line that holds one figure of ours to a bound. @returns {Row} */
export function atMost(what, value, bound, unit, digits = 0) {
  return { what, iclood: `${value.toFixed(digits)} ${unit}`, reach: `≤ ${bound} ${unit}`, isReached: value <= bound }
}

/** The middle one of `values`; of two in the middle the lower. */
export function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)]
}
