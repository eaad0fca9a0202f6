import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Sends feedback with the JDK's client as it is made by default, or for HTTP/1.1; prints the statuses. */
public class Client {
  public static void main(String[] arguments) throws Exception {
    String url = arguments[0], key = arguments[1], name = arguments[2];
    HttpClient.Builder builder = HttpClient.newBuilder();
    if (arguments[3].equals("1.1")) builder.version(HttpClient.Version.HTTP_1_1);
    HttpClient client = builder.build();
    int many = Integer.parseInt(arguments[4]);
    List<CompletableFuture<HttpResponse<String>>> later = new ArrayList<>();
    for (int number = 0; number < many; number++) {
      String body = "{\"data\":{\"rating\":" + number + ",\"padding\":\"" + "x".repeat(number * 4096) + "\"}}";
      HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/feedback/" + name + "%2F" + number))
          .header("Authorization", "Bearer " + key)
          .header("Content-Type", "application/json")
          .POST(HttpRequest.BodyPublishers.ofString(body))
          .build();
      // One after the other at first, then all at once.
      if (number < many / 2) show(client.send(request, HttpResponse.BodyHandlers.ofString()));
      else later.add(client.sendAsync(request, HttpResponse.BodyHandlers.ofString()));
    }
    for (CompletableFuture<HttpResponse<String>> one : later) show(one.get());
  }

  private static void show(HttpResponse<String> answer) {
    System.out.println(answer.statusCode() + " " + (answer.body().contains("\"accepted\"") ? "accepted" : answer.body()));
  }
}
