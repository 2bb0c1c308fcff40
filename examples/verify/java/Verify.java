// Verify a JWT of the gateway with Nimbus JOSE+JWT: java -cp 'jars/*' Verify.java JWKS_URL ISSUER AUDIENCE < token

import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;

public class Verify {
    private static final int LEEWAY = 5; // seconds by which clocks may differ

    /** A service keeps one processor: its source caches the key set, and fetches it again for an unknown kid. */
    static DefaultJWTProcessor<SecurityContext> processor(String url, String issuer, String audience)
            throws Exception {
        JWKSource<SecurityContext> keys = JWKSourceBuilder.create(URI.create(url).toURL()).build();
        var claims = new DefaultJWTClaimsVerifier<SecurityContext>(
                Set.of(audience),
                new JWTClaimsSet.Builder().issuer(issuer).build(),
                Set.of("exp", "realm", "username"),
                Set.of("cnf", "restrictions")); // conditions that are not checked here
        claims.setMaxClockSkew(LEEWAY);
        var processor = new DefaultJWTProcessor<SecurityContext>();
        // The algorithm is the one that the service expects, whatever the JWT says.
        processor.setJWSKeySelector(new JWSVerificationKeySelector<>(JWSAlgorithm.ES256, keys));
        processor.setJWTClaimsSetVerifier(claims);
        return processor;
    }

    public static void main(String[] args) throws Exception {
        String token = new String(System.in.readAllBytes(), StandardCharsets.US_ASCII).trim();
        try {
            JWTClaimsSet found = processor(args[0], args[1], args[2]).process(token, null);
            List<String> roles = found.getStringListClaim("roles");
            System.out.println(String.join(" ", found.getStringClaim("realm"), found.getStringClaim("username"),
                    roles == null ? "" : String.join(",", roles)));
        } catch (Exception error) {
            System.err.println(error.getMessage());
            System.exit(1);
        }
    }
}
