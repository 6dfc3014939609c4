import { ASSETS_OF_A_PATH } from '../../base/budgets.ts'
import type { OfferedFile } from '../../catalogue/offered.ts'
import { mayBeExported } from '../../catalogue/same-asset.ts'
import { withoutFragment } from '../../upload/phone-path.ts'

/** The files of a list, each once, and where they stood there. */
export interface DistinctFiles {
  files: OfferedFile[]
  /** For each of `files` its position, or all that it had. */
  positions: (number | number[])[]
  /** Positions of what was left out: more assets of one path than any phone has. */
  excess: number[]
}

/**
 * Makes a list unique: what is the same in all that tells assets apart is one file, and of one path, or one exported
 * asset, at most `ASSETS_OF_A_PATH` are left. Each is compared with the rows of its path, so a list of a thousand equal
 * paths would cost a million comparisons. Takes time in proportion to the list; one without repetitions is returned as
 * it is.
 */
export function distinctFiles(files: OfferedFile[], positions: number[]): DistinctFiles {
  const keys = files.map(keysOf)
  const paths = new Set(keys.map(({ path }) => path))
  const exported = keys.flatMap(({ asset }) => asset ?? [])
  if (paths.size === files.length && new Set(exported).size === exported.length) return { files, positions, excess: [] }

  const distinct: DistinctFiles = { files: [], positions: [], excess: [] }
  /** Indexes in `distinct`, by path and by exported asset. */
  const known = new Map<string, number[]>()
  for (const [index, file] of files.entries()) {
    const position = positions[index] ?? -1
    const { path = '', asset } = keys[index] ?? {}
    const ofPath = known.get(path) ?? []
    const ofAsset = asset === undefined ? [] : (known.get(asset) ?? [])
    const same = ofPath.find((at) => isSame(distinct.files[at], file))
    if (same !== undefined) {
      const before = distinct.positions[same] ?? []
      if (Array.isArray(before)) before.push(position)
      else distinct.positions[same] = [before, position]
    } else if (ofPath.length >= ASSETS_OF_A_PATH || ofAsset.length >= ASSETS_OF_A_PATH) {
      distinct.excess.push(position)
    } else {
      ofPath.push(distinct.files.length)
      known.set(path, ofPath)
      if (asset !== undefined) known.set(asset, [...ofAsset, distinct.files.length])
      distinct.files.push(file)
      distinct.positions.push(position)
    }
  }
  return distinct
}

/** What the catalogue looks a file up by: its path, and its asset if it may be an export. No path is an asset's key. */
function keysOf(file: OfferedFile): { path: string; asset: string | undefined } {
  const path = file.path.includes('#') ? withoutFragment(file.path) : file.path
  return { path, asset: mayBeExported(file) ? `\0${file.id}\0${path.slice(path.lastIndexOf('.'))}` : undefined }
}

function isSame(one: OfferedFile | undefined, other: OfferedFile): boolean {
  return (
    one !== undefined &&
    one.id === other.id &&
    one.created === other.created &&
    one.size === other.size &&
    one.modified === other.modified &&
    one.checksum === other.checksum
  )
}
