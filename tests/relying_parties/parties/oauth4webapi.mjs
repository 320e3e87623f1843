// oauth4webapi (npm), which judges each answer most strictly; with client_secret_basic, state and PKCE.
import * as oauth from 'oauth4webapi'
import { BASE, CLIENT_ID, CLIENT_SECRET, ISSUER, serve, session } from './serve.mjs'

const issuer = new URL(ISSUER)
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer))
const client = { client_id: CLIENT_ID, id_token_signed_response_alg: process.env.ID_TOKEN_ALG }
const authentication = oauth.ClientSecretBasic(CLIENT_SECRET)

serve({
  '/login': async () => {
    session.verifier = oauth.generateRandomCodeVerifier()
    session.state = oauth.generateRandomState()
    session.nonce = oauth.generateRandomNonce()
    const address = new URL(server.authorization_endpoint)
    const parameters = {
      client_id: CLIENT_ID,
      redirect_uri: `${BASE}/callback`,
      response_type: 'code',
      scope: 'openid profile email',
      code_challenge: await oauth.calculatePKCECodeChallenge(session.verifier),
      code_challenge_method: 'S256',
      state: session.state,
      nonce: session.nonce,
      max_age: '3600'
    }
    for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value)
    return address
  },
  '/callback': async (url) => {
    const parameters = oauth.validateAuthResponse(server, client, url, session.state)
    const response = await oauth.authorizationCodeGrantRequest(
      server, client, authentication, parameters, `${BASE}/callback`, session.verifier)
    session.tokens = await oauth.processAuthorizationCodeResponse(server, client, response, {
      expectedNonce: session.nonce, maxAge: 3600, requireIdToken: true
    })
    await oauth.validateApplicationLevelSignature(server, response)
    return new URL(`${BASE}/me`)
  },
  '/me': async () => {
    const claims = oauth.getValidatedIdTokenClaims(session.tokens)
    const response = await oauth.userInfoRequest(server, client, session.tokens.access_token)
    return { claims, user: await oauth.processUserInfoResponse(server, client, claims.sub, response) }
  },
  '/refresh': async () => {
    const response = await oauth.refreshTokenGrantRequest(
      server, client, authentication, session.tokens.refresh_token)
    session.tokens = await oauth.processRefreshTokenResponse(server, client, response)
    await oauth.validateApplicationLevelSignature(server, response)
    return { claims: oauth.getValidatedIdTokenClaims(session.tokens) }
  },
  '/logout': () => {
    const address = new URL(server.end_session_endpoint)
    address.searchParams.set('id_token_hint', session.tokens.id_token)
    address.searchParams.set('post_logout_redirect_uri', `${BASE}/bye`)
    address.searchParams.set('state', 'the-state')
    return address
  },
  '/bye': (url) => ({ state: url.searchParams.get('state') })
})
