import Type, { type Static } from 'typebox'
import { DEVICE_LENGTH, ID_LENGTH, NAME_LENGTH, PATH_LENGTH } from '../base/budgets.ts'
import { Nullable, Timestamp } from '../base/shapes.ts'

export const BackupStatus = Type.Union([Type.Literal('Pending'), Type.Literal('Completed'), Type.Literal('Failed')])

export const Backup = Type.Object({
  id: Type.Integer(),
  file_name: Type.String(),
  file_path: Nullable(Type.String({ description: 'in the library, such as 2024/07/IMG_0042.HEIC' })),
  file_size: Nullable(Type.Integer({ description: 'bytes' })),
  file_type: Type.String({ description: 'photo or video' }),
  mime_type: Nullable(Type.String()),
  timestamp: Nullable(Timestamp),
  status: Type.String({ description: 'Pending, Completed or Failed' }),
  original_path: Nullable(Type.String({ description: 'on the phone' })),
  device_id: Nullable(Type.String()),
  captured_at: Nullable(Timestamp),
  sha256: Nullable(Type.String({ description: 'of the original, in hexadecimal' })),
  failure: Type.Optional(Type.String({ description: 'why it failed; only in Failed ones' })),
})
export type Backup = Static<typeof Backup>

const Milliseconds = Nullable(
  Type.Union([Type.Number(), Type.String()], { description: 'ms since 1970, may be fractional; or ISO 8601' }),
)

/**
 * One file in a phone's list. Other fields are accepted, and returned untouched; fields that are not as described here
 * are as if they were absent, but for `path`.
 */
export const PhotoEntry = Type.Object({
  path: Type.String({ minLength: 1, maxLength: PATH_LENGTH, pattern: '^[^\\u0000]*$' }),
  id: Type.Optional(
    Nullable(
      Type.Union([Type.String({ maxLength: ID_LENGTH, pattern: '^[^\\u0000]*$' }), Type.Number()], {
        description: 'the phone’s own id of the asset',
      }),
    ),
  ),
  name: Type.Optional(Nullable(Type.String({ maxLength: NAME_LENGTH, pattern: '^[^\\u0000]*$' }))),
  size: Type.Optional(
    Nullable(Type.Number({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'bytes; 0 if not known' })),
  ),
  type: Type.Optional(Nullable(Type.String({ description: 'photo or video' }))),
  created: Type.Optional(Milliseconds),
  modified: Type.Optional(Milliseconds),
  sha256: Type.Optional(Nullable(Type.String({ pattern: '^[0-9A-Fa-f]{64}$' }))),
})
export type PhotoEntry = Static<typeof PhotoEntry>

const Device = { maxLength: DEVICE_LENGTH, pattern: '^[^\\u0000]*$' }

export const DeviceId = Type.String({ ...Device, description: 'unknown, if it is left out or empty' })

/** In a query. */
export const DeviceFilter = Type.String({ ...Device, description: 'only of this device; left out or empty: of all' })

/** A phone's list of files. */
export const PhotoList = Type.Object({
  device_id: Type.Optional(Nullable(DeviceId)),
  files: Type.Array(PhotoEntry),
})

/** The entries of a list that could not be sorted, where there are any. */
export const Invalid = Type.Optional(
  Type.Array(
    Type.Object({ index: Type.Integer({ description: 'in the list that was sent' }), message: Type.String() }),
    { description: 'entries without a usable path; left out if there are none' },
  ),
)

export const ErrorAnswer = Type.Object(
  {
    status: Type.Literal('error'),
    code: Type.String({ description: 'one word for programs' }),
    message: Type.String({ description: 'a sentence for people' }),
  },
  { description: 'What happened, what was expected and what to do' },
)

/** Adds what every success carries. */
export const success = <Properties extends Type.TProperties>(properties: Properties) =>
  Type.Object({ status: Type.Literal('success'), ...properties }, { description: 'Success' })

/** The fields of an upload beside its file. */
export const UploadFields = Type.Object({
  original_path: Type.Optional(Type.String({ maxLength: PATH_LENGTH, description: 'on the phone' })),
  file_type: Type.Optional(Type.String({ description: 'photo or video, for what the bytes do not tell' })),
  device_id: Type.Optional(DeviceId),
  asset_id: Type.Optional(
    Type.String({
      maxLength: ID_LENGTH,
      description: 'the phone’s own id of the asset; proves later which photo this is',
    }),
  ),
  created: Type.Optional(Type.String({ description: 'ms since 1970, or ISO 8601' })),
  sha256: Type.Optional(
    Type.String({ pattern: '^[0-9A-Fa-f]{64}$', description: 'refused if something else arrives' }),
  ),
})
