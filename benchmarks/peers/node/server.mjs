// MQTT for devices with aedes: what they report is checked, committed, and then acknowledged and answered.
//
//     node server.mjs --registry FILE --envelopes DIR --models DIR --database FILE --port 0
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { parseArgs } from 'node:util'
import { Aedes } from 'aedes'
import { Accounts } from './accounts.mjs'
import { Store } from './store.mjs'
import { Refusal, Uplinks } from './uplinks.mjs'

const text = { type: 'string' }
const { values: options } = parseArgs({
  options: { registry: text, envelopes: text, models: text, database: text, port: { ...text, default: '0' } }
})

const accounts = new Accounts(readFileSync(options.registry, 'utf8'))
const uplinks = new Uplinks(options.envelopes, options.models, accounts.models)
const store = new Store(options.database)

/** What arrived in this turn of the event loop. */
let arrived = []

const broker = await Aedes.createBroker({
  authenticate (client, username, password, done) {
    const device = accounts.authenticate(client.id, username, password)
    if (!device) return done(Object.assign(new Error('unknown device or wrong signature'), { returnCode: 4 }))
    client.device = device
    client.routes = uplinks.routes(device)
    done(null, true)
  },

  authorizeSubscribe (client, subscription, done) {
    const { product, key } = client.device
    done(null, subscription.topic.startsWith(`/sys/${product}/${key}/`) ? subscription : null)
  },

  // aedes sends PUBACK when this calls back, hence after the commit.
  authorizePublish (client, packet, done) {
    const route = client.routes.get(packet.topic)
    if (!route) return done(new Error(`${packet.topic} is not for ${client.device.key} to publish on`))
    if (arrived.length === 0) setImmediate(commit)
    arrived.push({ client, packet, route, done })
  }
})

/** One transaction for all that arrived, then the answers. */
function commit () {
  const group = arrived
  arrived = []
  const accepted = []
  const received = Date.now()
  for (const message of group) {
    try {
      const { id, items } = message.route.read(message.packet.payload)
      message.reply = `{"id":${JSON.stringify(id)},"code":200,"data":{}}`
      accepted.push({ device: message.client.device, items, received })
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal
      message.reply = JSON.stringify({ id: refusal.id, code: refusal.code, data: {}, message: refusal.message })
    }
  }
  try {
    store.commit(accepted)
  } catch (error) {
    console.error(`cannot store: ${error.message}`)
    // Neither answered nor acknowledged: aedes ends the connection, and the device sends again.
    for (const { done } of group) done(error)
    return
  }
  // aedes writes each packet by itself; held back together they leave in one system call a device.
  const sockets = new Set(group.map(({ client }) => client.conn))
  for (const socket of sockets) socket.cork()
  for (const message of group) answer(message)
  // `client.publish` writes in a later turn: this follows it.
  setImmediate(() => {
    for (const socket of sockets) socket.uncork()
  })
}

function answer ({ client, packet, route, reply, done }) {
  client.publish({ topic: route.reply, payload: Buffer.from(reply), qos: packet.qos, retain: false }, report)
  done(null)
}

function report (error) {
  if (error) console.error(`a reply was not sent: ${error.message}`)
}

const server = createServer({ noDelay: true }, broker.handle)
server.listen(Number(options.port), '127.0.0.1', () => {
  const { address, port } = server.address()
  console.log(`listening ${address}:${port}`)
})

process.on('SIGTERM', () => {
  server.close()
  broker.close(() => {
    store.close()
    process.exit(0)
  })
})
