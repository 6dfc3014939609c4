/*
 * Every bound on what others can make the server hold or do, in one place: docs/security.md, "A budget for everything",
 * has the same ones as a table. Imports nothing. Each is so large that a household never meets it (four phones, each
 * with one request at a time and tens of thousands of photos; a tool such as rclone with eight connections), and so
 * small that all of them together hold with a heap of 256 MB, in 512 MB of memory.
 */

/**
 * A bound on what all clients have together, and on what one address has of it, which is never more than what is free
 * for others.
 */
export interface Share {
  readonly all: number
  readonly each: number
}

const KB = 1024
const MB = 1024 * KB

/**
 * TCP connections. Each costs about 20 KB; a browser has 6, a tool for copying 8, a proxy that is not trusted some
 * tens, a script that sends a whole folder at once some hundreds. An address of an IPv6 network leaves the others there
 * half of its share.
 */
export const CONNECTIONS: Share = { all: 1_024, each: 340 }

/** Requests whose answers are not through yet, behind a proxy too, where connections tell nothing of the client. */
export const REQUESTS: Share = { all: 1_024, each: 340 }

/** Requests that came on one connection before the one at work was answered. Clients that pipeline are rare. */
export const WAITING_PER_CONNECTION = 16

/**
 * How long an upload, a list or a long answer waits for others of its address to end before it is refused, in ms since
 * the last one of them ended: what comes in a burst is served, however slow the drive is.
 */
export const TURN_MS = 5_000

/** Uploads under way. A phone has one, a tool for copying 8. */
export const UPLOADS: Share = { all: 96, each: 16 }

/** Bytes of uploads gathered in memory before they are written; what one may gather shrinks as there are more. */
export const GATHERED_BYTES = 16 * MB

/** Bytes on the drive that an upload is promised beyond what has arrived: most photos and short films whole. */
export const PROMISED_AHEAD = 64 * MB

/** Lists, and other JSON, that are being received, worked on or answered. A phone has one. */
export const LISTS: Share = { all: 16, each: 4 }

/** Bytes of one list: 100,000 photos with long paths, or more with short ones. A larger one is sent in parts. */
export const LIST_LENGTH = 32 * MB

/** Bytes of lists, as they came, until they are answered. Tens of thousands of photos of one phone are about 12 MB. */
export const LIST_BYTES: Share = { all: 80 * MB, each: LIST_LENGTH }

/**
 * Of lists that are being read and compared, which takes twice their length and more: their bytes, and `FILE_BYTES` for
 * each file however short it is. The longest ones go one after the other, short ones beside them. Of what is compared
 * only these stay until the answer has been taken, and `VERDICT_BYTES` for each different verdict: a client that takes
 * it slowly must not keep others waiting; what it holds of the list itself counts among `LIST_BYTES`.
 */
export const LIST_WORK: Share = { all: 72 * MB, each: 64 * MB }
export const FILE_BYTES = 128
export const VERDICT_BYTES = 384

/** How long a list waits for others to be compared, in ms: a little less than the app waits. */
export const LIST_TURN_MS = 45_000

/**
 * Rows of one path, or of what belongs to it, that an upload looks at; any number of uploads may have the same path. A
 * household has one, and some more where two phones of one model have the same names.
 */
export const ROWS_WEIGHED = 256

/**
 * Different files of one path, or exports of one asset, that a list may have; and rows of one path that may wait for
 * their files, from one address. A phone has one; apps that edit announce a few.
 */
export const ASSETS_OF_A_PATH = 32

/** A bound on rows of the catalogue: of all, of one address, and of one device, whoever says to be it. */
export interface RowBounds extends Share {
  readonly device: number
}

/**
 * Rows that wait for their files: of a device a phone's longest list, of an address a few phones behind one proxy. In
 * all they take some 300 MB, with paths as long as can be 3 GB. The oldest of who has the most go first.
 */
export const WAITING_ROWS: RowBounds = { all: 600_000, each: 300_000, device: 200_000 }

/** How long one waits that no list names any more, in days; with one that has sent something, 30. */
export const WAITING_DAYS = 90

/** Rows of what is ignored. A person ignores hundreds; who has less than a tenth of a share may go on beyond all. */
export const IGNORED_ROWS: Share = { all: 300_000, each: 100_000 }

/** Names of devices that an address may have such rows of: a household behind one proxy, many times over. */
export const DEVICES_OF_AN_ADDRESS = 100

/** Names that an address has no such rows of any more, and which are still counted: each list adds all of them up. */
export const EMPTY_SHARES = 1_000

/**
 * Rows that lists may make of one original, which the library has already: a photo on a family's phones, under several
 * paths. Whoever knows the checksums of the library can make as many of each, and they stay.
 */
export const ROWS_OF_AN_ORIGINAL = 32

/** Characters of a path on a phone, of a name there, of an asset's id and of a device's name. */
export const PATH_LENGTH = 4_096
export const NAME_LENGTH = 1_024
export const ID_LENGTH = 512
export const DEVICE_LENGTH = 256

/** What a statement may take in the database, in ms, but for those of migrations and rebuilds. */
export const STATEMENT_MS = 45_000

/**
 * Connections to the database that lists, verdicts and logs share: a list is sorted by two processes. Uploads have
 * others, and so has all else.
 */
export const LIST_CONNECTIONS = 2
export const UPLOAD_CONNECTIONS = 2

/** What one of their statements may take, in ms: some 10,000 files; a Pi takes a second or two for so many. */
export const LIST_STATEMENT_MS = 30_000
/** How long one of them waits for a connection, in ms. */
export const LIST_WAIT_MS = 30_000
/**
 * What a step of theirs may have in memory before it goes to the disk, and what there, where the server lets us say so.
 */
export const LIST_WORK_MEMORY = '16MB'
export const LIST_TEMP_SPACE = '128MB'

/** What any statement may have on the disk in the embedded database: a rebuild sorts a journal of a million lines. */
export const TEMP_SPACE = '4GB'

/** Answers that are read from the catalogue row by row. An app or a page asks for one. */
export const LONG_ANSWERS: Share = { all: 16, each: 4 }

/** Bytes of an answer in memory before the client has taken them. */
export const ANSWER_BYTES = 256 * KB

/**
 * Bytes a second that arrive, or are taken, at least, on average over `RATE_MS`. It is that of a bad mobile connection;
 * who is slower keeps from others what he holds.
 */
export const MIN_RATE = 4 * KB
export const RATE_MS = 3 * 60_000

/**
 * Wrong access tokens an hour that are compared at all. Ten thousand guesses an hour come to nothing with a token of 20
 * characters; a script with an old token stays below what one address has.
 */
export const WRONG_TOKENS: Share = { all: 10_000, each: 1_000 }

/** Wrong access tokens of one address that are answered as if nothing were the matter; then it is told to wait. */
export const WRONG_TOKENS_ANSWERED = 10

/**
 * How long verification, and the reading of what an older server left, rest while uploads go on, and then before each
 * MiB that they read beside them: an upload that never ends costs them speed (1 MB/s is left), not more.
 */
export const PATIENCE_MS = 60_000
export const AT_MOST_MS = 1_000

/** Devices that are looked at for their silence, the longest known first. Names are whatever anybody sends. */
export const DEVICES_WATCHED = 1_000

/**
 * Of the devices that are waited for, the longest known ones, whose silence is a problem and a message each; further
 * ones are one together. Those that have sent something for longer than a day, as a guest of one evening has not, and
 * others.
 */
export const DEVICES_KNOWN_TOLD = 10
export const DEVICES_TOLD = 5

/** Of devices that are one problem together, those that its message names. */
export const DEVICES_NAMED = 5

/** Devices in a health report, and with a series of their own in `/metrics`. */
export const DEVICES_SHOWN = 200
export const DEVICES_MEASURED = 50

/** Bytes of `library.json`, and of the note of the mirror, on a drive: they have some hundred. */
export const IDENTITY_BYTES = 4 * KB

/** Bytes of a `SHA256SUMS`, and its lines: a month has some ten thousand photos, with 100 bytes each. */
export const SUMS_BYTES = 64 * MB
export const SUMS_LINES = 200_000
/** Bytes of a line of it: a checksum, and a name of 255 bytes of which each may be written as two. */
export const SUMS_LINE_BYTES = KB

/** Bytes of a line of the journal: a path of 4 KB, names, and what is known of the original. */
export const JOURNAL_LINE_BYTES = 64 * KB
/** Bytes of a file of the journal in which no line has an end: then the file is given up. */
export const JOURNAL_GARBAGE_BYTES = 64 * MB
/** Bytes of a file of the journal that is copied to the mirror: ten million originals have less. */
export const JOURNAL_FILE_BYTES = 16 * 1024 * MB

/**
 * Bytes on the disk of `DATA_DIR` below which no rows are added: PostgreSQL needs up to four files of 16 MB to write
 * down what it is about to do, and ends when it can't.
 */
export const DATABASE_RESERVE = 64 * MB

/** The largest original, 8 TiB: sums over a million of them still fit 64 bits. What is larger is left alone. */
export const LARGEST_ORIGINAL = 2 ** 43

/**
 * What is longer than an original by more bytes than these is not read to know what it is, unless another original has
 * its length: a hole of terabytes takes nothing to make, and hours to read. Programs that edit add less.
 */
export const BEYOND_ORIGINAL = 64 * MB
