// express-openid-connect (npm), Auth0's, with the code flow and its own routes.
const { createServer } = require('node:https')
const { readFileSync } = require('node:fs')
const express = require('express')
const { auth, requiresAuth } = require('express-openid-connect')

const { ISSUER, CLIENT_ID, CLIENT_SECRET, BASE, PORT, PEM } = process.env
const application = express()

application.use(auth({
  issuerBaseURL: ISSUER,
  baseURL: BASE,
  clientID: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  secret: 'a secret of the test, which seals the cookie',
  authorizationParams: { response_type: 'code', response_mode: 'query', scope: 'openid profile email' },
  authRequired: false,
  idpLogout: true,
  routes: { login: false, logout: '/logout', callback: '/callback', postLogoutRedirect: '/bye' }
}))
application.get('/login', (request, response) => response.oidc.login({ returnTo: '/me' }))
application.get('/me', requiresAuth(), async (request, response) => {
  response.json({ claims: request.oidc.idTokenClaims, user: await request.oidc.fetchUserInfo() })
})
application.get('/refresh', requiresAuth(), async (request, response) => {
  await request.oidc.accessToken.refresh()
  response.json({ claims: request.oidc.idTokenClaims })
})
application.get('/bye', (request, response) => response.json({ state: null }))

const pem = readFileSync(PEM)
createServer({ key: pem, cert: pem }, application).listen(Number(PORT), '127.0.0.1')
