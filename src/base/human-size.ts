const UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'] as const

/** Writes a size in bytes as the app shows it: `0B`, else two decimals in powers of 1024, such as `781.25KB`. */
export function humanSize(bytes: number): string {
  if (bytes === 0) return '0B'
  let size = bytes
  let unit = 0
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024
    unit++
  }
  return `${size.toFixed(2)}${UNITS[unit]}`
}
