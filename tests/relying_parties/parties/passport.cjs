// passport-openidconnect (npm): without discovery and without PKCE.
const { createServer } = require('node:https')
const { readFileSync } = require('node:fs')
const express = require('express')
const session = require('express-session')
const passport = require('passport')
const Strategy = require('passport-openidconnect')

const { ISSUER, CLIENT_ID, CLIENT_SECRET, BASE, PORT, PEM } = process.env
const application = express()

passport.use(new Strategy({
  issuer: ISSUER,
  authorizationURL: `${ISSUER}/oauth2/authorization/`,
  tokenURL: `${ISSUER}/oauth2/token/`,
  userInfoURL: `${ISSUER}/oauth2/userinfo/`,
  clientID: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  callbackURL: `${BASE}/callback`,
  scope: ['profile', 'email'],
  skipUserProfile: false
}, (issuer, profile, context, idToken, done) => done(null, { issuer, profile, idToken })))
passport.serializeUser((user, done) => done(null, user))
passport.deserializeUser((user, done) => done(null, user))

application.use(session({ secret: 'a secret of the test', resave: false, saveUninitialized: false }))
application.use(passport.session())
application.get('/login', passport.authenticate('openidconnect'))
application.get('/callback', passport.authenticate('openidconnect', { failWithError: true, successRedirect: '/me' }))
application.get('/me', (request, response) => {
  const { issuer, profile } = request.user
  const user = { sub: profile.id, name: profile.displayName, email: profile.emails?.[0].value }
  response.json({ claims: { iss: issuer, sub: profile.id }, user })
})
application.get('/logout', (request, response) => {
  const address = new URL(`${ISSUER}/oauth2/end_session/`)
  address.searchParams.set('id_token_hint', request.user.idToken)
  address.searchParams.set('post_logout_redirect_uri', `${BASE}/bye`)
  address.searchParams.set('state', 'the-state')
  response.redirect(address.href)
})
application.get('/bye', (request, response) => response.json({ state: request.query.state }))
application.use((error, request, response, next) => response.status(500).send(`${error.stack} ${JSON.stringify(error)}`))

const pem = readFileSync(PEM)
createServer({ key: pem, cert: pem }, application).listen(Number(PORT), '127.0.0.1')
