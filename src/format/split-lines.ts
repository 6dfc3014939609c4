const LINE_FEED = 0x0a

export interface ReadLine {
  /** Without its line feed; `undefined` if it is longer than any line can be. */
  bytes: Buffer | undefined
  /** Whether its line feed is there: only the last line of a file may lack it. */
  isEnded: boolean
}

/**
 * Splits what `chunks` yield into lines. Of one that is longer than `line` bytes nothing is kept; one of more than
 * `garbage` bytes is the last, whatever follows.
 */
export async function* splitLines(
  chunks: AsyncIterable<Buffer>,
  max: { line: number; garbage: number },
): AsyncGenerator<ReadLine> {
  let pieces: Buffer[] = []
  let length = 0
  const take = (isEnded: boolean): ReadLine => {
    const bytes = length > max.line ? undefined : Buffer.concat(pieces)
    pieces = []
    length = 0
    return { bytes, isEnded }
  }
  const keep = (piece: Buffer) => {
    length += piece.byteLength
    if (length <= max.line) pieces.push(piece)
    else pieces = []
  }
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      keep(chunk.subarray(start, end))
      yield take(true)
      start = end + 1
    }
    if (start < chunk.byteLength) keep(chunk.subarray(start))
    if (length > max.garbage) break
  }
  if (length > 0) yield take(false)
}
