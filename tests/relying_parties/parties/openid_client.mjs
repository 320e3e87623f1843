// openid-client (npm), as its documentation uses it: with PKCE and a nonce, without a state.
import * as client from 'openid-client'
import { BASE, CLIENT_ID, CLIENT_SECRET, ISSUER, serve, session } from './serve.mjs'

const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET)

serve({
  '/login': async () => {
    session.verifier = client.randomPKCECodeVerifier()
    session.nonce = client.randomNonce()
    return client.buildAuthorizationUrl(config, {
      redirect_uri: `${BASE}/callback`,
      scope: 'openid profile email',
      code_challenge: await client.calculatePKCECodeChallenge(session.verifier),
      code_challenge_method: 'S256',
      nonce: session.nonce
    })
  },
  '/callback': async (url) => {
    session.tokens = await client.authorizationCodeGrant(config, url, {
      pkceCodeVerifier: session.verifier,
      expectedNonce: session.nonce,
      idTokenExpected: true
    })
    return new URL(`${BASE}/me`)
  },
  '/me': async () => {
    const claims = session.tokens.claims()
    const user = await client.fetchUserInfo(config, session.tokens.access_token, claims.sub)
    return { claims, user }
  },
  '/refresh': async () => {
    session.tokens = await client.refreshTokenGrant(config, session.tokens.refresh_token)
    return { claims: session.tokens.claims() }
  },
  '/logout': () => client.buildEndSessionUrl(config, {
    post_logout_redirect_uri: `${BASE}/bye`,
    id_token_hint: session.tokens.id_token,
    state: 'the-state'
  }),
  '/bye': (url) => ({ state: url.searchParams.get('state') })
})
