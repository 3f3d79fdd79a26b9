import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv from 'ajv/dist/2020.js'

/** A request that is answered with a code other than 200. */
export class Refusal extends Error {
  constructor (code, message, id = '') {
    super(message)
    this.code = code
    this.id = id
  }
}

/** Checks requests, with validators that ajv compiled. */
export class Uplinks {
  #models = new Map()
  #resume
  #resumeBatch

  /**
   * @param {string} envelopes the folder with `measurepoint-resume.json` and `measurepoint-resume-batch.json`
   * @param {string} models the folder with a JSON Schema of each thing model's points, `MODEL.json`
   * @param {Iterable<string>} names the thing models
   */
  constructor (envelopes, models, names) {
    const ajv = new Ajv({ allowUnionTypes: true })
    const compile = (folder, name) => ajv.compile(JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')))
    this.#resume = compile(envelopes, 'measurepoint-resume')
    this.#resumeBatch = compile(envelopes, 'measurepoint-resume-batch')
    for (const name of names) this.#models.set(name, compile(models, name))
  }

  /** What a device may publish, by topic; built once a connection. */
  routes (device) {
    const topic = `/sys/${device.product}/${device.key}/thing/measurepoint/resume`
    const checkPoints = this.#models.get(device.model)
    return new Map([
      [topic, {
        reply: `${topic}_reply`,
        read: payload => readRequest(payload, this.#resume, checkPoints, device, params => [params])
      }],
      [`${topic}/batch`, {
        reply: `${topic}/batch_reply`,
        read: payload => readRequest(payload, this.#resumeBatch, checkPoints, device, params => params)
      }]
    ])
  }
}

/** The request's id as text, and its items. Throws a Refusal. */
function readRequest (payload, checkEnvelope, checkPoints, device, itemsOf) {
  let request
  try {
    request = JSON.parse(payload)
  } catch {
    throw new Refusal(1206, 'the payload is not JSON')
  }
  const id = String(request?.id ?? '')
  if (!checkEnvelope(request)) throw new Refusal(1206, sentence(checkEnvelope), id)
  const items = itemsOf(request.params)
  for (const item of items) {
    // A gateway's sub-devices are not served: every item is the device's own.
    if ((item.deviceKey || device.key) !== device.key || (item.productKey || device.product) !== device.product) {
      throw new Refusal(1212, 'an item of another device', id)
    }
    if (!checkPoints(item.measurepoints)) throw new Refusal(1204, sentence(checkPoints), id)
  }
  return { id, items }
}

function sentence (check) {
  const [{ instancePath, message }] = check.errors
  return `${instancePath || '/'} ${message}`
}
