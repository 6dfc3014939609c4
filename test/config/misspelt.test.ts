import { expect, it } from 'vitest'
import { findMisspelt } from '../../src/config/misspelt.ts'
import { SETTINGS } from '../../src/config/settings.ts'

const names = Object.values(SETTINGS).map(({ name }) => name)

it.each([
  ['UPLOAD_FODLER', 'UPLOAD_FOLDER'],
  ['UPLOAD_FOLDERS', 'UPLOAD_FOLDER'],
  ['UPLOADFOLDER', 'UPLOAD_FOLDER'],
  ['upload_folder', 'UPLOAD_FOLDER'],
  ['MAX_FILESIZE', 'MAX_FILE_SIZE'],
  ['DATABSE_URL', 'DATABASE_URL'],
  ['NOTIFY_URLS', 'NOTIFY_URL'],
  ['PROT', 'PORT'],
  ['ALOWED_HOST', 'ALLOWED_HOSTS'],
])('%s was probably meant to be %s', (name, meant) => {
  expect(findMisspelt([name], names)).toEqual([{ name, meant }])
})

it('neither settings nor the names of other programs are misspelt', () => {
  const others = [
    'SECRET_KEY',
    'FLASK_APP',
    'FLASK_ENV',
    'NODE_ENV',
    'PATH',
    'HOME',
    'POSTGRES_PASSWORD',
    'PUID',
    'DEBUG',
  ]
  expect(findMisspelt([...names, ...others], names)).toEqual([])
})
