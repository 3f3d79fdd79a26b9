import { createHash, timingSafeEqual } from 'node:crypto'
import { parse } from 'smol-toml'

/** The devices of a registry file; who may connect, and with which thing model. */
export class Accounts {
  #devices = new Map()

  /** @param {string} text the registry file's TOML */
  constructor (text) {
    const { products = [], devices = [] } = parse(text)
    const models = new Map(products.map(product => [product.key, product.model]))
    for (const { product, key, secret } of devices) {
      if (!models.get(product)) throw new Error(`${product}/${key} is of a product without a thing model`)
      this.#devices.set(`${key}&${product}`, { product, key, secret, model: models.get(product) })
    }
  }

  /** The ids of the thing models that the devices have. */
  get models () {
    return new Set([...this.#devices.values()].map(device => device.model))
  }

  /**
   * The device that signed a CONNECT, or undefined.
   *
   * @param {string} clientId `cid|securemode=2,signmethod=sha256,timestamp=ts|`
   * @param {string} username `deviceKey&productKey`
   * @param {Buffer} password sha256 in hex
   */
  authenticate (clientId, username, password) {
    const device = this.#devices.get(username)
    const signed = /^([^|]+)\|securemode=2,signmethod=sha256,timestamp=([^,|]+)\|$/.exec(clientId)
    if (!device || !signed || !password) return undefined
    const [, cid, timestamp] = signed
    const content = `clientId${cid}deviceKey${device.key}productKey${device.product}timestamp${timestamp}${device.secret}`
    const expected = createHash('sha256').update(content).digest()
    const given = Buffer.from(password.toString('latin1'), 'hex')
    return given.length === expected.length && timingSafeEqual(given, expected) ? device : undefined
  }
}
