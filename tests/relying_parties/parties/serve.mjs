// What the relying parties on Node.js share: HTTPS with the certificate of the test, cookies and answers.
import { createServer } from 'node:https'
import { readFileSync } from 'node:fs'

export const { ISSUER, CLIENT_ID, CLIENT_SECRET, BASE, PORT, PEM } = process.env

// One browser visits each relying party, so one session is enough.
export const session = {}

/** Serve routes, which are functions by path. Each takes the URL and returns an address to go to, or an object to show. */
export function serve (routes) {
  const pem = readFileSync(PEM)
  createServer({ key: pem, cert: pem }, async (request, response) => {
    const url = new URL(request.url, BASE)
    try {
      const answer = await routes[url.pathname](url)
      if (answer instanceof URL) response.writeHead(303, { Location: answer.href }).end()
      else response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer))
    } catch (error) {
      const cause = error.cause ? JSON.stringify(error.cause, Object.getOwnPropertyNames(error.cause)) : ''
      response.writeHead(500).end(`${error.stack} ${cause}`)
    }
  }).listen(Number(PORT), '127.0.0.1')
}
