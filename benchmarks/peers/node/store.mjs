import { readFileSync } from 'node:fs'
import Database from 'better-sqlite3'

const TABLES = readFileSync(new URL('../tables.sql', import.meta.url), 'utf8')

/** The points in a SQLite database; what `commit` has returned from is on disk. */
export class Store {
  #db
  #seriesOf = new Map()
  #findSeries
  #addSeries
  #upsert
  #write

  constructor (file) {
    this.#db = new Database(file)
    this.#db.pragma('journal_mode = WAL')
    this.#db.pragma('synchronous = FULL')
    // The points of many devices touch many pages: by default nearly each transaction would end in a checkpoint.
    this.#db.pragma('wal_autocheckpoint = 10000')
    this.#db.pragma('cache_size = -65536')
    this.#db.exec(TABLES)
    this.#findSeries = this.#db.prepare(
      'SELECT id FROM series WHERE product_key = ? AND device_key = ? AND measurepoint = ?'
    ).pluck()
    this.#addSeries = this.#db.prepare('INSERT INTO series (product_key, device_key, measurepoint) VALUES (?, ?, ?)')
    this.#upsert = this.#db.prepare(`
      INSERT INTO points (series, time, value, quality) VALUES (?, ?, ?, ?)
      ON CONFLICT (series, time) DO UPDATE SET value = excluded.value, quality = excluded.quality
    `)
    this.#write = this.#db.transaction(messages => {
      for (const { device, items, received } of messages) {
        for (const item of items) this.#storeItem(device, item, received)
      }
    })
  }

  /** Store all these messages in one transaction, or none. */
  commit (messages) {
    try {
      this.#write(messages)
    } catch (error) {
      // Series that were added are gone with the transaction.
      this.#seriesOf.clear()
      throw error
    }
  }

  close () {
    this.#db.close()
  }

  #storeItem (device, { time, measurepoints }, received) {
    const series = this.#series(device)
    const when = Math.trunc(time ?? received)
    for (const point in measurepoints) {
      const given = measurepoints[point]
      const id = series.get(point) ?? this.#newSeries(device, series, point)
      if (hasQuality(given)) {
        this.#upsert.run(id, when, JSON.stringify(given.value), given.quality)
      } else {
        this.#upsert.run(id, when, JSON.stringify(given), null)
      }
    }
  }

  #series (device) {
    let series = this.#seriesOf.get(device)
    if (!series) this.#seriesOf.set(device, series = new Map())
    return series
  }

  #newSeries (device, series, point) {
    const id = this.#findSeries.get(device.product, device.key, point) ??
      this.#addSeries.run(device.product, device.key, point).lastInsertRowid
    series.set(point, id)
    return id
  }
}

function hasQuality (value) {
  return typeof value === 'object' && value !== null && 'value' in value && 'quality' in value
}
