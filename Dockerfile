# The image of configs/launch/kubernetes.yaml: Python, a C++ compiler and what our packages want. The code that a job runs
# comes from the directory it works on, so that the image is made anew when dependencies change, not when the code does.
#
#   docker build --tag registry.example.com/loglinear .                                 torch's CUDA build, for GPUs
#   docker build --tag registry.example.com/loglinear --build-arg TORCH_INDEX=URL .     a build from PyTorch's index URL:
#                                                                                       for CPUs, or for another CUDA
FROM python:3.12-slim

# g++ compiles our kernels and DeepSpeed's at a job's start; the Python headers are there already.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/loglinear
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY launch launch
COPY model model
COPY pipeline pipeline
COPY configs configs

ARG TORCH_INDEX=
RUN pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} .

# Not root; a pod may run as any other user as well, who then has this home and name.
RUN useradd --uid 1000 --create-home loglinear && chmod 1777 /home/loglinear
ENV HOME=/home/loglinear USER=loglinear
USER 1000
