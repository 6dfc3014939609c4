import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { AppError } from '../../src/errors.ts'
import { Drive } from '../../src/storage/drive.ts'
import { createIdentity } from '../../src/storage/identity.ts'

/** What a drive has said about itself, in order. */
export type DriveNews = AppError | 'returned'

/** Makes the folder `root` a new library and opens it. */
export async function openLibrary(root: string): Promise<{ drive: Drive; news: DriveNews[] }> {
  const id = await createIdentity(root, new Date())
  await mkdir(join(root, '.iclood/incoming'))
  const news: DriveNews[] = []
  const drive = new Drive(root, id, {
    onMissing: (reason) => news.push(reason),
    onReturned: () => news.push('returned'),
  })
  await drive.check()
  return { drive, news }
}
