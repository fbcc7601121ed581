"""Creates pods one after another and prints how long each took from the request to Ready, in milliseconds.

    python3 pod_latency.py KUBECONFIG IMAGE COUNT PREFIX [keep]
"""
import base64, http.client, json, ssl, sys, tempfile, time

kubeconfig, image, count, prefix = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
fields = dict(line.strip().split(": ", 1) for line in open(kubeconfig) if ": " in line)
files = {}
for key in ["certificate-authority-data", "client-certificate-data", "client-key-data"]:
    f = tempfile.NamedTemporaryFile(delete=False)
    f.write(base64.b64decode(fields[key]))
    f.close()
    files[key] = f.name
context = ssl.create_default_context(cafile=files["certificate-authority-data"])
context.load_cert_chain(files["client-certificate-data"], files["client-key-data"])
host, port = fields["server"].removeprefix("https://").split(":")


def connect():
    return http.client.HTTPSConnection(host, int(port), context=context)


def call(method, path, body=None):
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    assert answer.status < 300, (answer.status, data[:300])
    return json.loads(data)


connection = connect()
base = "/api/v1/namespaces/default/pods"
times = []
for i in range(count):
    name = f"{prefix}-{i}"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": image, "command": ["sleep", "3600"]}]}}
    version = call("GET", base + "?limit=1")["metadata"]["resourceVersion"]
    watch = connect()
    watch.request("GET", f"{base}?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3D{name}")
    began = time.perf_counter()
    call("POST", base, pod)
    stream = watch.getresponse()
    while True:
        event = json.loads(stream.readline())
        conditions = event["object"].get("status", {}).get("conditions", [])
        if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            break
    times.append((time.perf_counter() - began) * 1000)
    watch.close()
    if "keep" not in sys.argv:
        call("DELETE", f"{base}/{name}?gracePeriodSeconds=0")
print(json.dumps(sorted(times)))
