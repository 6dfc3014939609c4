/**
 * Returns those of the names that a folder lists (`listed`) which the catalogue does not have there (`known`). Some
 * file systems list a name in another Unicode form than it was given, and find it under both: a name that differs from
 * one that is not listed as it is written in its form alone is that one.
 */
export function strangeNames(listed: readonly string[], known: readonly string[]): string[] {
  const strange = new Set(listed)
  const elsewhere = known.filter((name) => !strange.delete(name))
  const forms = new Map<string, number>()
  for (const name of elsewhere) forms.set(formOf(name), (forms.get(formOf(name)) ?? 0) + 1)
  return [...strange].filter((name) => {
    const count = forms.get(formOf(name)) ?? 0
    forms.set(formOf(name), count - 1)
    return count <= 0
  })
}

function formOf(name: string): string {
  return name.normalize('NFC')
}
