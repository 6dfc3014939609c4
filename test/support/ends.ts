import { dirname } from 'node:path'
import { afterAll, afterEach, TestRunner } from 'vitest'

type Undo = () => unknown

/** What is to be undone at the end of a test, by its id, and at the end of the file. */
const undos = new Map<string, Undo[]>()
const OF_FILE = ''

/** The folders that were made for a test, or for the file, with the one that they were made for. */
const owners = new Map<string, string>()

const currentOwner = () => TestRunner.getCurrentTest()?.id ?? OF_FILE

/**
 * Has `undo` called when what runs now is over, however it ends: the test, or the file where no test runs (in
 * `beforeAll`, at the top). What was started last is undone first, after the test's own `afterEach`. For whatever a
 * helper starts; `undo` must not mind if the test has ended it already.
 */
export function endsWithTest(undo: Undo): void {
  endsWith(currentOwner(), undo)
}

/** The same for a folder, which `endsWithFolder` then goes by. */
export function folderEndsWithTest(folder: string, undo: Undo): void {
  owners.set(folder, currentOwner())
  endsWithTest(undo)
}

/**
 * Has `undo` called before `folder` is removed: a server may be started again by one of several tests that have it in
 * common.
 */
export function endsWithFolder(folder: string, undo: Undo): void {
  let at = folder
  while (!owners.has(at) && at !== dirname(at)) at = dirname(at)
  endsWith(owners.get(at) ?? currentOwner(), undo)
}

function endsWith(owner: string, undo: Undo): void {
  undos.set(owner, [...(undos.get(owner) ?? []), undo])
}

async function undoAll(owner: string): Promise<void> {
  const errors: unknown[] = []
  for (let list = undos.get(owner); list !== undefined && list.length > 0; ) {
    try {
      await list.pop()?.()
    } catch (error) {
      errors.push(error)
    }
  }
  undos.delete(owner)
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors)
}

/** Called once, before the test file's own hooks: what is registered first is called last. */
export function undoAtEnds(): void {
  afterEach(({ task }) => undoAll(task.id))
  afterAll(async () => {
    // A test that ran into its limit may have gone on starting things.
    for (const owner of [...undos.keys()]) await undoAll(owner)
  })
}
